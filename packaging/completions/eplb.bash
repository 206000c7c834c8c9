# shellcheck shell=bash
# eplb(1) in bash. Made from the table of verbs: ./dev docs.
_eplb() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb='' words=''
    # --relay=copy is three words here.
    if [[ $word == = ]]; then
        word=''
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
            reload) verb=${COMP_WORDS[1]} ;;
        esac
    fi
    COMPREPLY=()
    case $verb:$before in
        :-c | :--config)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        :--balance) words='round_robin leastconn random first source_hash consistent least_time peak_ewma' ;;
        :--connect-timeout) words='off' ;;
        :--idle-timeout) words='off' ;;
        :--half-close-timeout) words='off' ;;
        :--drain-timeout) words='off' ;;
        :-w | :--workers) words='auto' ;;
        :--max-connections) words='auto' ;;
        :--relay) words='auto splice copy' ;;
        :--pipe-size) words='auto' ;;
        :--busy-poll) words='off' ;;
        :--log-level) words='debug info warning error' ;;
        :--log-format) words='text json' ;;
        :-l | :--listen | :-b | :--backend) return ;;
        reload:-c | reload:--config)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        reload:--control) return ;;
        *)
            case $verb in
                '') words='--listen --backend --config --expand-env --test --dump --strict --balance --connect-timeout --idle-timeout --half-close-timeout --drain-timeout --workers --max-connections --relay --pipe-size --busy-poll --log-level --log-format --quiet --help --version' ;;
                'reload') words='--config --control --dry-run --force --strict --expand-env --help' ;;
            esac
            if ((COMP_CWORD == 1)); then words="reload $words"; fi
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _eplb eplb
