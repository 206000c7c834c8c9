# eplb(1) in fish. Made from the table of verbs: ./dev docs.
# Whether the first word is this verb, or, without one, no verb.
function __eplb_verb_is
    set -l words (commandline -opc)
    set -l verb ''
    contains -- "$words[2]" reload; and set verb $words[2]
    test "$verb" = "$argv[1]"
end
complete -c eplb -f
complete -c eplb -n '__eplb_verb_is ""' -s l -l listen -x -d 'Accept clients here (repeatable): :5555, 127.0.0.1:5555, [::1]:5555, host:5555, unix:/path, unix:@name'
complete -c eplb -n '__eplb_verb_is ""' -s b -l backend -x -d 'Send them here (repeatable), in turn and in proportion to the weights: 127.0.0.1:3306, host:3306, srv:_db._tcp.host, unix:/path. Names follow the DNS'
complete -c eplb -n '__eplb_verb_is ""' -s c -l config -r -F -d 'Read this; options given beside it win over what it says. Read again on SIGHUP'
complete -c eplb -n '__eplb_verb_is ""' -l expand-env -d 'Replace ${NAME} and ${NAME:-default} in its strings'
complete -c eplb -n '__eplb_verb_is ""' -s t -l test -d 'Check the configuration, take no address, leave'
complete -c eplb -n '__eplb_verb_is ""' -s T -l dump -d 'Print the effective configuration, with where each value comes from, and leave'
complete -c eplb -n '__eplb_verb_is ""' -l strict -d 'Warnings about it are errors'
complete -c eplb -n '__eplb_verb_is ""' -l balance -x -a 'round_robin leastconn random first source_hash consistent least_time peak_ewma' -d 'round_robin, leastconn, random, first, source_hash, consistent, least_time or peak_ewma: eplb.toml(5)'
complete -c eplb -n '__eplb_verb_is ""' -l connect-timeout -x -a 'off' -d 'A backend has to answer within this'
complete -c eplb -n '__eplb_verb_is ""' -l idle-timeout -x -a 'off' -d 'Reset a session in which nothing moves'
complete -c eplb -n '__eplb_verb_is ""' -l half-close-timeout -x -a 'off' -d 'The same, once one side has finished'
complete -c eplb -n '__eplb_verb_is ""' -l drain-timeout -x -a 'off' -d 'Sessions may go on so long after SIGTERM'
complete -c eplb -n '__eplb_verb_is ""' -s w -l workers -x -a 'auto' -d 'Threads, each with connections of its own; auto: one for each processor'
complete -c eplb -n '__eplb_verb_is ""' -l max-connections -x -a 'auto' -d 'At a time; others wait. auto: what the limit of open files allows'
complete -c eplb -n '__eplb_verb_is ""' -l relay -x -a 'auto splice copy' -d 'auto: copy small messages, splice bulk; or splice, or copy'
complete -c eplb -n '__eplb_verb_is ""' -l pipe-size -x -a 'auto' -d 'Of the pipes that bulk is spliced through, like 64KiB or 1MiB; auto: 256KiB'
complete -c eplb -n '__eplb_verb_is ""' -l busy-poll -x -a 'off' -d 'Spin so long for events before blocking, like 50us: less latency, more CPU'
complete -c eplb -n '__eplb_verb_is ""' -l log-level -x -a 'debug info warning error' -d 'debug, info, warning or error'
complete -c eplb -n '__eplb_verb_is ""' -l log-format -x -a 'text json' -d 'text or json'
complete -c eplb -n '__eplb_verb_is ""' -s q -l quiet -d 'Only warnings and errors'
complete -c eplb -n '__eplb_verb_is ""' -s h -l help -d 'Print this and leave'
complete -c eplb -n '__eplb_verb_is ""' -s V -l version -d 'Print the version and leave'
complete -c eplb -n 'test (count (commandline -opc)) -eq 1' -a reload -d 'Have the running eplb read its configuration file again'
complete -c eplb -n '__eplb_verb_is "reload"' -s c -l config -r -F -d 'The file; it says where the control socket is'
complete -c eplb -n '__eplb_verb_is "reload"' -l control -x -d 'The control socket, if FILE does not say'
complete -c eplb -n '__eplb_verb_is "reload"' -s n -l dry-run -d 'Change nothing, only tell what would change'
complete -c eplb -n '__eplb_verb_is "reload"' -l force -d 'Even if a service is left without backends, or an interface or source is not there now'
complete -c eplb -n '__eplb_verb_is "reload"' -l strict -d 'Warnings about the configuration are errors'
complete -c eplb -n '__eplb_verb_is "reload"' -l expand-env -d 'Replace ${NAME} in FILE\'s control key; the rest is the running process\'s affair'
complete -c eplb -n '__eplb_verb_is "reload"' -s h -l help -d 'Print this and leave'
