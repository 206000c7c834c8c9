#pragma once

#include <functional>
#include <thread>

namespace eplb {

/// Starts a thread that no signal is delivered to: those that somebody waits for find the thread that
/// does, and none interrupts a call. Throws std::system_error.
[[nodiscard]] std::thread start_without_signals(std::function<void()> run);

}  // namespace eplb
