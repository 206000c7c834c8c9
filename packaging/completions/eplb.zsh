#compdef eplb
# eplb(1) in zsh. Made from the table of verbs: ./dev docs.
_eplb() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    local -a verbs=(
        'reload:Have the running eplb read its configuration file again'
    )
    if ((CURRENT > 2)); then
        case $words[2] in
            reload)
                shift words
                ((CURRENT--))
                _arguments -s -S \
                    '(-c --config)'{-c+,--config=}'[The file; it says where the control socket is]:FILE:_files' \
                    '--control=[The control socket, if FILE does not say]:ADDR: ' \
                    '(-n --dry-run)'{-n,--dry-run}'[Change nothing, only tell what would change]' \
                    '--force[Even if a service is left without backends, or an interface or source is not there now]' \
                    '--strict[Warnings about the configuration are errors]' \
                    '--expand-env[Replace ${NAME} in FILE'\''s control key; the rest is the running process'\''s affair]' \
                    '(-h --help)'{-h,--help}'[Print this and leave]'
                return
                ;;
        esac
    fi
    _arguments -s -S -C \
        '*'{-l+,--listen=}'[Accept clients here (repeatable): :5555, 127.0.0.1:5555, \[::1\]:5555, host:5555, unix:/path, unix:@name]:ADDR: ' \
        '*'{-b+,--backend=}'[Send them here (repeatable), in turn and in proportion to the weights: 127.0.0.1:3306, host:3306, srv:_db._tcp.host, unix:/path. Names follow the DNS]:ADDR[,weight=N][,name=S]: ' \
        '(-c --config)'{-c+,--config=}'[Read this; options given beside it win over what it says. Read again on SIGHUP]:FILE:_files' \
        '--expand-env[Replace ${NAME} and ${NAME:-default} in its strings]' \
        '(-t --test)'{-t,--test}'[Check the configuration, take no address, leave]' \
        '(-T --dump)'{-T,--dump}'[Print the effective configuration, with where each value comes from, and leave]' \
        '--strict[Warnings about it are errors]' \
        '--balance=[round_robin, leastconn, random, first, source_hash, consistent, least_time or peak_ewma: eplb.toml(5)]:POLICY:(round_robin leastconn random first source_hash consistent least_time peak_ewma)' \
        '--connect-timeout=[A backend has to answer within this]:TIME:(off)' \
        '--idle-timeout=[Reset a session in which nothing moves]:TIME:(off)' \
        '--half-close-timeout=[The same, once one side has finished]:TIME:(off)' \
        '--drain-timeout=[Sessions may go on so long after SIGTERM]:TIME:(off)' \
        '(-w --workers)'{-w+,--workers=}'[Threads, each with connections of its own; auto: one for each processor]:N|auto:(auto)' \
        '--max-connections=[At a time; others wait. auto: what the limit of open files allows]:N|auto:(auto)' \
        '--relay=[auto: copy small messages, splice bulk; or splice, or copy]:MODE:(auto splice copy)' \
        '--pipe-size=[Of the pipes that bulk is spliced through, like 64KiB or 1MiB; auto: 256KiB]:SIZE:(auto)' \
        '--busy-poll=[Spin so long for events before blocking, like 50us: less latency, more CPU]:TIME:(off)' \
        '--log-level=[debug, info, warning or error]:LEVEL:(debug info warning error)' \
        '--log-format=[text or json]:FORMAT:(text json)' \
        '(-q --quiet)'{-q,--quiet}'[Only warnings and errors]' \
        '(-h --help)'{-h,--help}'[Print this and leave]' \
        '(-V --version)'{-V,--version}'[Print the version and leave]' \
        '1: :->verb' && return
    [[ $state == verb ]] && ((CURRENT == 2)) && _describe -t verbs verb verbs
}
_eplb "$@"
