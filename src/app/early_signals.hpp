#pragma once

namespace eplb::app {

/// Signals that come before there is anybody who could obey them. To be called first thing in main: what
/// came before that, while the program was loaded, has taken its default course.
///
/// SIGHUP, SIGUSR1 and SIGUSR2 wait, until a SignalWatch takes them. SIGTERM and SIGINT end the process at
/// once, with the status of one that was stopped, until a SignalWatch blocks them; also as the first process
/// of a container, where the kernel drops signals that have no handler. A file that has reached a limit of
/// its size is an error of write(2), not a signal that kills.
///
/// Threads that are started later inherit what is blocked, and so do programs.
void hold_signals() noexcept;

/// As it was before hold_signals(): for a command that answers and leaves.
void release_signals() noexcept;

}  // namespace eplb::app
