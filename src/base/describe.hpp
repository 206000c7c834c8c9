#pragma once

#include <exception>
#include <string>

namespace eplb {

/// What went wrong, for a user. Exceptions of ours, and those with an errno, say it themselves; what the
/// standard library throws besides is put into words here.
[[nodiscard]] std::string describe(const std::exception& error);

}  // namespace eplb
