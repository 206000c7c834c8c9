#pragma once

#include "app/flags.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::app {

/// What the first word of the command says is to be done. The command, its help, eplb(1) and the
/// completions for shells are all made from the one table of them, so they cannot disagree.
struct Verb {
    /// Empty: what is done without one, which is to serve.
    std::string_view name;
    /// A line for the list in the help, without a full stop.
    std::string_view summary;
    /// Sentences for the manual, `code` between backquotes.
    std::string_view details;
    std::vector<Flag> (*flags)();
    /// `arguments`: those behind the verb. Returns the exit code, and throws as main() expects.
    int (*run)(std::vector<std::string> arguments);
};

/// The one without a name first.
[[nodiscard]] std::span<const Verb> verbs() noexcept;

/// Takes the verb from the front of `arguments`, if there is one. Throws UsageError for a word that is
/// none.
[[nodiscard]] const Verb& take_verb(std::vector<std::string>& arguments);

}  // namespace eplb::app
