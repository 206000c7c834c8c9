#include "config/config_reference.hpp"

#include "config/config_keys.hpp"
#include "config/mdoc.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <string_view>
#include <vector>

namespace eplb::control {
namespace {

struct Chapter {
    std::string_view header;
    std::string_view introduction;
    std::vector<KeyInfo> keys;
};

template <class Values>
std::vector<KeyInfo> infos(const KeyTable<Values>& table) {
    return {table.begin(), table.end()};
}

std::array<Chapter, 7> chapters() {
    return {{
        {"Process", "Above all tables.", infos(process_keys())},
        {"[log]", "", infos(log_keys())},
        {"[dns]", "How the names of backends are asked for.", infos(dns_keys())},
        {"[[service]]", "One for each service; there has to be at least one.",
         infos(own_service_keys())},
        {"[[service]] or [defaults]",
         "What stands in [defaults] is for every service that does not say otherwise.",
         infos(service_keys())},
        {"[service.check] or [defaults.check]",
         "How each backend of the service is asked, again and again, whether it works.",
         infos(check_keys())},
        {"[[service.backend]]",
         "One for each backend, below the service that it belongs to; there has to be at least one.",
         infos(backend_keys())},
    }};
}

}  // namespace

std::string markdown_reference() {
    std::string text;
    for (const Chapter& chapter : chapters()) {
        text += fmt::format("## {}\n", chapter.header);
        if (!chapter.introduction.empty()) text += fmt::format("{}\n", chapter.introduction);
        text += '\n';
        for (const KeyInfo& key : chapter.keys) {
            text += fmt::format("**`{}`** ({}", key.name, key.type);
            if (!key.default_value.empty())
                text += fmt::format("; default `{}`", key.default_value);
            if (!key.flag.empty()) text += fmt::format("; option `{}`", key.flag);
            text += fmt::format(")\n: {}\n\n", key.details);
        }
    }
    return text;
}

std::string mdoc_reference() {
    std::string text;
    for (const Chapter& chapter : chapters()) {
        text += fmt::format(".Ss {}\n", chapter.header);
        if (!chapter.introduction.empty())
            text += fmt::format("{}\n", mdoc_text(chapter.introduction));
        text += ".Bl -tag -width Ds\n";
        for (const KeyInfo& key : chapter.keys) {
            text += fmt::format(".It Ic {}\n{}", key.name, mdoc_text(key.type));
            if (!key.default_value.empty())
                text += fmt::format("; default {}", mdoc_text(key.default_value));
            if (!key.flag.empty()) text += fmt::format("; option {}", mdoc_text(key.flag));
            text += fmt::format(".\n.br\n{}\n", mdoc_sentences(key.details));
        }
        text += ".El\n";
    }
    return text;
}

}  // namespace eplb::control
