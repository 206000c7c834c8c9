#pragma once

#include "config/document.hpp"
#include "config/settings.hpp"

#include <functional>
#include <optional>
#include <string>

namespace eplb::control {

/// What a document says, checked as far as it can be without looking names up or opening anything.
/// What is wrong goes to `diagnostics`, all of it; the result is meant for use only when there are
/// no errors.
///
/// `file`: the file's root table, if there is one. `flags`: the command line's options in the same
/// form, with what they say of services in "defaults"; they win over the file. If they have a
/// "service" of their own, it stands beside those of the file.
[[nodiscard]] Settings read_settings(const Node* file, const Node* flags, Diagnostics& diagnostics);

}  // namespace eplb::control
