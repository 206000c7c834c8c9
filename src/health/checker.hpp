#pragma once

#include "base/source_turn.hpp"
#include "eplb/fd.hpp"
#include "eplb/health_check.hpp"
#include "eplb/socket_options.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"
#include "health/probe.hpp"
#include "health/rise_fall.hpp"
#include "reactor/dial.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eplb {

class Reactor;

namespace health {

struct CheckResult {
    enum class Outcome : std::uint8_t {
        passed,
        failed,
        /// Of this machine (no descriptor, no port, no such interface, not permitted): says nothing
        /// of the server, and was not counted.
        local_error,
    };
    Outcome outcome = Outcome::passed;
    /// Empty if it passed; else a line that is safe in a log between quotes: "connect: Connection
    /// refused", "timeout after 2s while waiting for the greeting", "mysql: 1040 Too many
    /// connections".
    std::string cause;
    /// From its start to the verdict.
    Duration duration{0};
    /// What it changed.
    std::optional<Transition> transition;
};

/// Asks one backend again and again whether it works, and keeps its state.
///
///   idle --time--> connecting --connected--> talking --verdict--> leaving --closed--> idle
///                       |                       |
///                       +--- failed, timeout ---+--> idle
///
/// The verdict is told before the connection is left: how that goes, says the probe. Whatever the
/// server does, a check ends within the timeout, looks at 4 KiB at most, and a farewell ends with
/// it, or at 64 KiB; only if it is we who come late to look does a check have the timeout once more; the next check waits for it. It holds one descriptor while it goes on, and
/// nothing but itself while it is idle.
///
/// Belongs to the thread of its reactor, which outlives it.
class Checker final : public Task {
public:
    /// Must not throw. May call anything of the checker, and destroy it.
    using OnResult = std::function<void(const CheckResult&)>;
    /// What goes before the question, like a PROXY header; may be empty.
    using Preamble = std::function<std::string(const Address& own, const Address& peer)>;

    /// How connections are made. Not used for Unix sockets, but for the preamble.
    struct Route {
        SocketOptions socket;  ///< keepalive and transparency play no role
        /// Where they come from, in turn: those of the target's family. Ports play no role.
        std::vector<Address> sources;
        Preamble preamble;
    };

    struct Options {
        Address backend;
        CheckConfig config;  ///< of type none: nothing happens, and the state is unknown
        Route route;
        Duration offset{0};      ///< until the first check, so that not all begin at once
        std::uint64_t seed = 0;  ///< of the jitter
        /// What an earlier checker of the same backend has found.
        Health health = Health::unknown;
    };

    /// The first check begins in the next turn, or after the offset.
    Checker(Reactor& reactor, Options options, OnResult on_result);
    ~Checker() override;

    /// If somebody else is asked, or something else, a check in progress is dropped and another one
    /// begins in the next turn. The state stays as it is until enough results contradict it; type
    /// none makes it unknown, without a word.
    void set_config(CheckConfig config);
    /// From the next check on.
    void set_route(Route route) { route_ = std::move(route); }
    /// Begins a check in the next turn, unless one is in progress.
    void check_now() noexcept;

    [[nodiscard]] const CheckConfig& config() const noexcept { return config_; }
    [[nodiscard]] Health health() const noexcept { return state_.health(); }

    // For the reactor.
    Next run() noexcept override;
    /// Tells a result, outside of run(), where the checker may be destroyed. Not its last call.
    void retire() noexcept override;

private:
    enum class Phase : std::uint8_t { idle, connecting, talking, leaving };
    struct Failure {
        int error = 0;
        const char* what = "connect";
        bool local = true;  // about our own socket, so it says nothing of the server
    };

    void step();
    void begin();
    void dial();
    void wait_for_backlog();
    [[nodiscard]] Failure failure_of(const Dialled& dialled) const noexcept;
    void check_connection();
    void connected();
    void talk();
    void flush() noexcept;
    [[nodiscard]] bool read_answer();
    [[nodiscard]] bool advance();
    [[nodiscard]] bool apply(ProbeStep step);
    void broken(const Failure& failure);
    [[nodiscard]] bool may_have_been_us() noexcept;
    void time_out();
    void conclude(CheckResult::Outcome outcome, std::string cause, Ending ending);
    void leave();
    void rest();
    void close() noexcept;
    void reset() noexcept;
    [[nodiscard]] Duration next_interval() noexcept;

    Reactor& reactor_;
    Address backend_;
    CheckConfig config_;
    Route route_;
    OnResult on_result_;
    RiseFall state_;
    std::uint64_t random_;
    SourceTurn source_turn_;

    // Of the check in progress.
    Phase phase_ = Phase::idle;
    bool due_ = false;
    bool backlog_is_full_ = false;  // of a Unix socket: it is asked again
    TimePoint started_{};
    Address target_;
    std::unique_ptr<Probe> probe_;
    std::string outgoing_;
    bool has_sent_ = false;  // something, in this check
    int send_error_ = 0;
    std::string received_;  // and not consumed
    std::size_t received_bytes_ = 0;
    Ending ending_ = Ending::reset;
    bool has_finished_ = false;
    bool excused_ = false;               // from being late: it was we
    std::optional<CheckResult> result_;  // not told yet

    TimePoint next_start_{};
    bool* destroyed_ = nullptr;  // of the call to on_result_ in progress
    Fd fd_;
    Watch watch_;
    Timer timer_;  // idle: the next check; else what ends this one
};

}  // namespace health
}  // namespace eplb
