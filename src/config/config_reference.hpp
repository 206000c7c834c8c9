#pragma once

#include <string>

namespace eplb::control {

/// All keys of the configuration file, from the tables that read them: for docs/configuration.md.
[[nodiscard]] std::string markdown_reference();
/// The same for eplb.toml(5), in mdoc(7).
[[nodiscard]] std::string mdoc_reference();

}  // namespace eplb::control
