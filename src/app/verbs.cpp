#include "app/verbs.hpp"

#include "app/command_line.hpp"
#include "app/reload_command.hpp"
#include "app/serve_command.hpp"
#include "base/suggest.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace eplb::app {
namespace {

constexpr std::array table{
    Verb{
        .name = "",
        .summary = "Serve",
        .details = "",
        .flags = serve_flags,
        .run = run_serve_command,
    },
    Verb{
        .name = "reload",
        .summary = "Have the running eplb read its configuration file again",
        .details =
            "Has the running process read its configuration file again, over the socket that the file's "
            "`control` key names, and prints what that changed; or, with `--dry-run`, what FILE, which "
            "may be another file than the process's, would change.",
        .flags = reload_flags,
        .run = run_reload_command,
    },
};

// An address is none, and has a message of its own.
bool looks_like_verb(std::string_view word) noexcept {
    return !word.empty() && word.front() != '-' && std::ranges::all_of(word, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
    });
}

}  // namespace

std::span<const Verb> verbs() noexcept { return table; }

const Verb& take_verb(std::vector<std::string>& arguments) {
    if (arguments.empty() || !looks_like_verb(arguments.front())) return table.front();
    const auto verb = std::ranges::find(table, arguments.front(), &Verb::name);
    if (verb == table.end()) {
        std::vector<std::string_view> names;
        for (const Verb& candidate : verbs().subspan(1)) names.push_back(candidate.name);
        throw UsageError(fmt::format("unknown verb \"{}\"{}", arguments.front(),
                                     did_you_mean(arguments.front(), names)));
    }
    arguments.erase(arguments.begin());
    return *verb;
}

}  // namespace eplb::app
