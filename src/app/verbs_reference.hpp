#pragma once

#include "app/verbs.hpp"

#include <span>
#include <string>

namespace eplb::app {

/// What the manual says of verbs with a name, in mdoc(7).
[[nodiscard]] std::string mdoc_reference(std::span<const Verb> verbs);

/// What a shell completes: the verbs, their options, and the values of those. Whole files.
[[nodiscard]] std::string bash_completion(std::span<const Verb> verbs);
[[nodiscard]] std::string zsh_completion(std::span<const Verb> verbs);
[[nodiscard]] std::string fish_completion(std::span<const Verb> verbs);

}  // namespace eplb::app
