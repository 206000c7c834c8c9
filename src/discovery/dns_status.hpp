#pragma once

#include "discovery/ares.hpp"
#include "discovery/name_source.hpp"

#include <string>

namespace eplb::control {

/// What it means for whoever asked that c-ares has ended a question with `ares_status`.
[[nodiscard]] NameAnswer::Status status_of(int ares_status) noexcept;

/// The same in words; empty if all is well.
[[nodiscard]] std::string problem_of(int ares_status);

/// An answer without addresses, and why.
[[nodiscard]] NameAnswer failure(int ares_status);
[[nodiscard]] NameAnswer failure(std::string problem);

}  // namespace eplb::control
