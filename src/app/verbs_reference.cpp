#include "app/verbs_reference.hpp"

#include "config/mdoc.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <string_view>
#include <vector>

namespace eplb::app {
namespace {

constexpr std::string_view made_from = "Made from the table of verbs: ./dev docs.\n";

// `word` as one of those between which there is `separator`.
void append(std::string& text, std::string_view separator, std::string_view word) {
    if (!text.empty()) text += separator;
    text += word;
}

// Within apostrophes; `special` get a backslash.
std::string quoted(std::string_view text, std::string_view special, std::string_view apostrophe) {
    std::string result = "'";
    for (const char c : text) {
        if (c == '\'') {
            result += apostrophe;
            continue;
        }
        if (special.find(c) != std::string_view::npos) result += '\\';
        result += c;
    }
    return result + "'";
}

std::string names_of(std::span<const Verb> verbs, std::string_view separator) {
    std::string names;
    for (const Verb& verb : verbs) {
        if (!verb.name.empty()) append(names, separator, verb.name);
    }
    return names;
}

bool takes_file(const Flag& flag) { return flag.value == "FILE"; }

// --- bash

// The option of that verb, as a pattern of "VERB:OPTION".
std::string bash_pattern(const Verb& verb, const Flag& flag) {
    std::string pattern = fmt::format("{}:{}", verb.name, flag.long_name);
    if (!flag.short_name.empty())
        pattern = fmt::format("{}:{} | {}", verb.name, flag.short_name, pattern);
    return pattern;
}

// What may stand behind an option of that verb.
std::string bash_values(const Verb& verb) {
    std::string cases;
    std::string free;
    for (const Flag& flag : verb.flags()) {
        const std::string pattern = bash_pattern(verb, flag);
        if (flag.value.empty()) continue;
        if (takes_file(flag)) {
            cases += fmt::format(
                "        {})\n"
                "            compopt -o filenames\n"
                "            mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
                "            return\n"
                "            ;;\n",
                pattern);
        } else if (!flag.words.empty()) {
            cases +=
                fmt::format("        {}) words='{}' ;;\n", pattern, fmt::join(flag.words, " "));
        } else {
            append(free, " | ", pattern);
        }
    }
    if (!free.empty()) cases += fmt::format("        {}) return ;;\n", free);
    return cases;
}

std::string bash_options(const Verb& verb) {
    std::string options;
    for (const Flag& flag : verb.flags()) append(options, " ", flag.long_name);
    return fmt::format("                '{}') words='{}' ;;\n", verb.name, options);
}

// --- zsh

std::string zsh_action(const Flag& flag) {
    if (flag.value.empty()) return {};
    const std::string message = fmt::format(":{}:", flag.value);
    if (takes_file(flag)) return message + "_files";
    if (!flag.words.empty()) return fmt::format("{}({})", message, fmt::join(flag.words, " "));
    return message + " ";
}

// As _arguments takes it.
std::string zsh_option(const Flag& flag) {
    const bool has_value = !flag.value.empty();
    const std::string long_name = flag.long_name + (has_value ? "=" : "");
    std::string help = quoted(flag.help, "[]\\", "'\\''");
    help = help.substr(1, help.size() - 2);  // within the apostrophes of more
    const std::string rest = fmt::format("[{}]{}'", help, zsh_action(flag));
    if (flag.short_name.empty())
        return fmt::format("'{}{}{}", flag.repeatable ? "*" : "", long_name, rest);
    const std::string both =
        fmt::format("{{{}{},{}}}'{}", flag.short_name, has_value ? "+" : "", long_name, rest);
    if (flag.repeatable) return "'*'" + both;
    return fmt::format("'({} {})'{}", flag.short_name, flag.long_name, both);
}

std::string zsh_options(const Verb& verb, std::string_view indent) {
    std::string options;
    for (const Flag& flag : verb.flags())
        options += fmt::format(" \\\n{}{}", indent, zsh_option(flag));
    return options;
}

// --- fish

std::string fish_option(const Verb& verb, const Flag& flag) {
    std::string line = fmt::format("complete -c eplb -n '__eplb_verb_is \"{}\"'", verb.name);
    if (!flag.short_name.empty()) line += fmt::format(" -s {}", flag.short_name.substr(1));
    line += fmt::format(" -l {}", flag.long_name.substr(2));
    if (takes_file(flag)) {
        line += " -r -F";
    } else if (!flag.words.empty()) {
        line += fmt::format(" -x -a '{}'", fmt::join(flag.words, " "));
    } else if (!flag.value.empty()) {
        line += " -x";
    }
    return fmt::format("{} -d {}\n", line, quoted(flag.help, "\\", "\\'"));
}

}  // namespace

std::string mdoc_reference(std::span<const Verb> verbs) {
    std::string text;
    for (const Verb& verb : verbs) {
        if (verb.name.empty()) continue;
        text += fmt::format(".Ss eplb {}\n{}\n", control::mdoc_text(verb.name),
                            control::mdoc_sentences(verb.details));
        text += ".Bl -tag -width Ds\n";
        for (const Flag& flag : verb.flags()) {
            text += ".It Fl ";
            if (!flag.short_name.empty()) text += fmt::format("{} , ", flag.short_name.substr(1));
            text += flag.long_name.substr(1);
            if (!flag.value.empty()) text += fmt::format(" Ar {}", flag.value);
            text += fmt::format("\n{}.\n", control::mdoc_sentences(flag.help));
        }
        text += ".El\n";
    }
    return text;
}

std::string bash_completion(std::span<const Verb> verbs) {
    std::string values;
    std::string options;
    for (const Verb& verb : verbs) {
        values += bash_values(verb);
        options += bash_options(verb);
    }
    std::string text = "# shellcheck shell=bash\n# eplb(1) in bash. ";
    text += made_from;
    text += R"(_eplb() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb='' words=''
    # --relay=copy is three words here.
    if [[ $word == = ]]; then
        word=''
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
            )";
    text += names_of(verbs, " | ");
    text += R"() verb=${COMP_WORDS[1]} ;;
        esac
    fi
    COMPREPLY=()
    case $verb:$before in
)";
    text += values;
    text += R"(        *)
            case $verb in
)";
    text += options;
    text += R"(            esac
            if ((COMP_CWORD == 1)); then words=")";
    text += names_of(verbs, " ");
    text += R"( $words"; fi
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _eplb eplb
)";
    return text;
}

std::string zsh_completion(std::span<const Verb> verbs) {
    std::string text = "#compdef eplb\n# eplb(1) in zsh. ";
    text += made_from;
    text += R"(_eplb() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    local -a verbs=(
)";
    for (const Verb& verb : verbs) {
        if (verb.name.empty()) continue;
        text += fmt::format("        {}\n",
                            quoted(fmt::format("{}:{}", verb.name, verb.summary), "", "'\\''"));
    }
    text += R"(    )
    if ((CURRENT > 2)); then
        case $words[2] in
)";
    for (const Verb& verb : verbs) {
        if (verb.name.empty()) continue;
        text += fmt::format("            {})\n", verb.name);
        text += "                shift words\n                ((CURRENT--))\n";
        text += fmt::format("                _arguments -s -S{}\n",
                            zsh_options(verb, "                    "));
        text += "                return\n                ;;\n";
    }
    text += "        esac\n    fi\n";
    for (const Verb& verb : verbs) {
        if (!verb.name.empty()) continue;
        text += fmt::format("    _arguments -s -S -C{}", zsh_options(verb, "        "));
    }
    text += R"( \
        '1: :->verb' && return
    [[ $state == verb ]] && ((CURRENT == 2)) && _describe -t verbs verb verbs
}
_eplb "$@"
)";
    return text;
}

std::string fish_completion(std::span<const Verb> verbs) {
    std::string text = "# eplb(1) in fish. ";
    text += made_from;
    text += R"(# Whether the first word is this verb, or, without one, no verb.
function __eplb_verb_is
    set -l words (commandline -opc)
    set -l verb ''
    contains -- "$words[2]" )";
    text += names_of(verbs, " ");
    text += R"(; and set verb $words[2]
    test "$verb" = "$argv[1]"
end
complete -c eplb -f
)";
    for (const Verb& verb : verbs) {
        if (!verb.name.empty()) {
            text += fmt::format(
                "complete -c eplb -n 'test (count (commandline -opc)) -eq 1' -a {} -d {}\n",
                verb.name, quoted(verb.summary, "\\", "\\'"));
        }
        for (const Flag& flag : verb.flags()) text += fish_option(verb, flag);
    }
    return text;
}

}  // namespace eplb::app
