#pragma once

#include "eplb/clock.hpp"
#include "eplb/fd.hpp"
#include "eplb/flow.hpp"
#include "eplb/relay.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"

#include <cstddef>
#include <cstdint>

namespace eplb {

class Reactor;

/// Two connected sockets, a flow each way, and the one implementation of how that ends.
///
///   both flows finished       done; FIN passed on both ways
///   a source failed, or its   its side is broken; reset the other
///   side did when the flow
///   from it had finished
///   a destination failed      its side is broken; the flow that reads from it goes on until what
///                             was received is out; then reset the other
///   nothing moved for long    reset both
///   it is as old as it may    reset both
///   get
///   check_peers() finds a     its side is broken
///   peer gone
///
/// A reset drops what the peer has not acknowledged yet, so it waits until the survivor's send
/// queue is empty, or stops getting shorter.
///
/// It is part of a task, which calls step() from its run(). While the task has other work
/// (connecting), it uses the sides itself, and timer_before_begin().
class Duplex {
public:
    struct Side {
        Side(Reactor& reactor, Task& owner) noexcept : watch{reactor, owner} {}
        void close() noexcept {
            watch.detach();
            fd.reset();
        }
        Fd fd;
        Watch watch;
    };

    /// All outlive the duplex.
    Duplex(Reactor& reactor, Task& owner, RelayContext& context,
           const RelayTimeouts& timeouts) noexcept;

    /// Both sides are connected and watched.
    void begin(bool client_is_tcp, bool server_is_tcp) noexcept;
    /// Moves bytes. Next::done: it is over, both sockets are closed, reason() says why.
    [[nodiscard]] Next step() noexcept;
    /// Asks the kernel whether both peers still answer. To be called again and again, every
    /// `interval`; a peer has to be silent for longer than the timeout in all of these calls. Next::done:
    /// as step(). Otherwise step() goes on with what has to be done.
    [[nodiscard]] Next check_peers(Duration interval) noexcept;
    /// Ends it now: closes both sockets, with a reset where a connection is left to reset.
    void reset(EndReason reason, int error = 0) noexcept;

    [[nodiscard]] RelayContext& context() const noexcept { return context_; }
    /// The server has finished, or its connection broke: nothing of it is left but what the client
    /// has not got yet.
    [[nodiscard]] bool server_is_over() const noexcept {
        return server.watch.hung_up() || !server.fd.valid();
    }
    [[nodiscard]] TimePoint started() const noexcept { return started_; }
    /// The server spoke last, nobody has finished, and both have acknowledged all that was sent to
    /// them. Two system calls.
    [[nodiscard]] bool at_rest() const noexcept;
    [[nodiscard]] TimePoint last_progress() const noexcept { return last_progress_; }
    [[nodiscard]] EndReason reason() const noexcept { return reason_; }
    [[nodiscard]] int error() const noexcept { return error_; }
    [[nodiscard]] std::uint64_t bytes_up() const noexcept { return up_.bytes_moved(); }
    [[nodiscard]] std::uint64_t bytes_down() const noexcept { return down_.bytes_moved(); }

    /// The owner's until begin(), for what comes before. From then on the duplex starts and stops it.
    [[nodiscard]] Timer& timer_before_begin() noexcept { return timer_; }

    Side client;
    Side server;

private:
    Timer timer_;

    // The side that is to be reset once it has what was sent to it.
    enum class Survivor : std::uint8_t { none, client, server };

    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_up() + bytes_down(); }
    [[nodiscard]] Next judge() noexcept;
    [[nodiscard]] Next client_broke(int error) noexcept;
    [[nodiscard]] Next server_broke(int error) noexcept;
    [[nodiscard]] Next break_off(Side& broken, Survivor survivor, EndReason reason,
                                 int error) noexcept;
    [[nodiscard]] Next flush_survivor() noexcept;
    [[nodiscard]] bool one_side_ended() const noexcept;
    [[nodiscard]] bool timed_out() noexcept;
    [[nodiscard]] TimePoint end_of_life() const noexcept;
    [[nodiscard]] bool is_gone(const Side& side, std::uint16_t& silent_rounds,
                               Duration interval) const noexcept;

    // The order of the members is such that nothing is wasted between them: every session has this.
    Reactor& reactor_;
    RelayContext& context_;
    const RelayTimeouts& timeouts_;
    Flow up_;
    Flow down_;
    const TimePoint started_;
    TimePoint last_progress_;
    TimePoint armed_until_;
    int error_ = 0;
    std::uint32_t unsent_ = UINT32_MAX;  // what the survivor had not acknowledged when last asked
    Survivor survivor_ = Survivor::none;
    EndReason reason_ = EndReason::drain;
    // In how many calls of check_peers() each was silent, one after the other.
    std::uint16_t client_silent_rounds_ = 0;
    std::uint16_t server_silent_rounds_ = 0;
    // Bits, because every session has them and there is no byte left.
    bool half_closed_ : 1 = false;
    bool client_spoke_last_ : 1 = false;
    std::uint8_t flush_polls_ = 0;
};

}  // namespace eplb
