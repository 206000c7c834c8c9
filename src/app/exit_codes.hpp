#pragma once

namespace eplb::app {

/// Beside EXIT_SUCCESS; eplb(1) tells them.
inline constexpr int exit_failure = 1;  ///< at run time
inline constexpr int exit_usage = 2;    ///< or a configuration that cannot be used

}  // namespace eplb::app
