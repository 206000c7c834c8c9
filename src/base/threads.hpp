#pragma once

#include <functional>
#include <string_view>
#include <thread>

namespace eplb {

/// Starts a thread that no signal is delivered to: those that somebody waits for find the thread that
/// does, and none interrupts a call. Throws std::system_error, which says what was short and whose thread
/// it was to be.
[[nodiscard]] std::thread start_without_signals(std::string_view whose, std::function<void()> run);

/// What pthread_create(3) says of that, EAGAIN, is no help.
inline constexpr std::string_view no_thread =
    "too little memory, or too many threads (ulimit -v, -u)";

}  // namespace eplb
