#pragma once

namespace eplb::bench {

/// From now on SIGINT and SIGTERM only set a flag, so that what was measured so far is reported and
/// every child is stopped. SIGPIPE is ignored: a child that died is found out by its exit.
void catch_interrupts();

/// Whether the user asked to stop. System calls that wait return EINTR when that happens.
[[nodiscard]] bool interrupted() noexcept;

}  // namespace eplb::bench
