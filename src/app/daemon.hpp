#pragma once

#include "app/log.hpp"
#include "config/config_file.hpp"
#include "control/control_server.hpp"
#include "control/reloader.hpp"
#include "discovery/names.hpp"
#include "eplb/proxy.hpp"
#include "eplb/reactor.hpp"
#include "eplb/signals.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace eplb::app {

struct CommandLine;

/// The balancer as a process: everything that lives for as long as it serves, and what signals mean to it.
///
///   learning   asks for names; nothing listens   SIGTERM: leaves. SIGHUP: remembered until it serves
///   serving    clients come                      SIGTERM -> draining. SIGHUP: reload
///   draining   sessions finish                   SIGTERM: resets them. No sessions: leaves
///
/// SIGINT is as SIGTERM. SIGUSR1 opens the log anew, and SIGUSR2 is told, at all times.
///
/// Without memory nobody dies who need not: what a signal asks for is done, or asked for again.
class Daemon {
public:
    /// `resolved`: what run() will serve. Takes the signals, starts the log. Throws std::system_error,
    /// std::runtime_error.
    Daemon(const CommandLine& options, const control::ResolvedSettings& resolved);
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// Serves until it is told to stop; then true. False if the names cannot be used, and that has been
    /// told, as part of `text_of_file`. Throws what opening listeners and the control socket does.
    /// Does not return at all, but ends the process well, when leaving would take waiting for others.
    [[nodiscard]] bool run(control::ResolvedSettings resolved, std::string_view text_of_file);

private:
    enum class Phase : std::uint8_t { learning, serving, draining };

    [[nodiscard]] control::LogValues log_values(control::LogValues values) const noexcept;
    [[nodiscard]] control::Diagnostics learn_names(control::ResolvedSettings& resolved);
    void open(control::ResolvedSettings resolved);
    void turn_until_stopped();
    void leave() noexcept;

    void on_signal(int signal);
    void on_hangup();
    void on_terminate(int signal);
    void on_terminate_again(int signal) noexcept;
    void on_user1() noexcept;
    void on_user2() noexcept;
    void reload();

    const CommandLine& options_;
    Phase phase_ = Phase::learning;
    bool stop_wanted_ = false;    // while learning
    bool reload_wanted_ = false;  // the same

    // In the order of their lives.
    std::size_t descriptors_;
    Reactor reactor_;
    SignalWatch
        signals_;  // before the log's thread starts, so that no signal is ever delivered to it
    Log log_;
    std::unique_ptr<control::Names> names_;  // until the reloader has them
    std::optional<Proxy> proxy_;             // from here on: once the names are learnt
    std::optional<control::Reloader> reloader_;
    std::unique_ptr<control::ControlServer> control_;
};

}  // namespace eplb::app
