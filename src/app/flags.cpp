#include "app/flags.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

namespace eplb::app {

std::vector<Flag> flags_of(const CLI::App& app) {
    std::vector<Flag> flags;
    for (const CLI::Option* option : app.get_options()) {
        Flag flag;
        if (!option->get_snames().empty()) flag.short_name = "-" + option->get_snames().front();
        if (!option->get_lnames().empty()) flag.long_name = "--" + option->get_lnames().front();
        if (option->get_items_expected_max() > 0) flag.value = option->get_type_name();
        flag.repeatable = option->get_items_expected_max() > 1;
        flag.help = option->get_description();
        std::ranges::replace(flag.help, '\n', ' ');
        flags.push_back(std::move(flag));
    }
    return flags;
}

}  // namespace eplb::app
