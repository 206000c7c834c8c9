#pragma once

#include "base/sys.hpp"
#include "eplb/clock.hpp"
#include "sim/file.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace sim {

class Kernel;
class Listener;
class Pipe;

/// An IPv4 address and a port, both in host order.
struct Place {
    std::uint32_t ip = 0;
    std::uint16_t port = 0;
    friend auto operator<=>(const Place&, const Place&) = default;
};

/// What a connection is like. Buffers are in bytes.
struct Link {
    std::size_t send_buffer = 64 * 1024;
    std::size_t receive_buffer = 64 * 1024;
    std::size_t segment = 1460;
    eplb::Duration latency{0};
    bool coalesce = false;  ///< small segments may be merged on their way
};

/// One end of a TCP connection, as net/ipv4/tcp*.c has it: states, buffers, poll bits, wake-ups and
/// errors follow the kernel's functions of the same purpose. The ends in the balancer's descriptor
/// table and the ends in its peers' machines are of this one type.
class Endpoint final : public File {
public:
    enum class State : std::uint8_t {
        closed,
        syn_sent,
        established,
        fin_wait1,
        fin_wait2,
        close_wait,
        closing,
        last_ack,
    };

    Endpoint(Kernel& kernel, const Link& link) noexcept : kernel_{kernel}, link_{link} {}

    [[nodiscard]] const char* kind() const noexcept override { return "socket"; }
    /// tcp_poll().
    [[nodiscard]] std::uint32_t poll() noexcept override;
    /// tcp_close().
    void release() noexcept override;

    [[nodiscard]] eplb::sys::IoResult recv(std::span<std::byte> buffer) noexcept;
    /// MSG_PEEK. Urgent data and what is behind it is not seen.
    [[nodiscard]] eplb::sys::IoResult peek(std::span<std::byte> buffer) noexcept;
    [[nodiscard]] eplb::sys::IoResult send(std::span<const std::byte> bytes) noexcept;
    [[nodiscard]] eplb::sys::IoResult splice_to(Pipe& pipe, std::size_t count) noexcept;
    [[nodiscard]] eplb::sys::IoResult splice_from(Pipe& pipe, std::size_t count) noexcept;
    /// MSG_OOB.
    void send_urgent(std::byte byte) noexcept;
    /// 0 or an errno.
    int shutdown_write() noexcept;
    void set_linger_zero() noexcept { linger_zero_ = true; }
    /// SO_REUSEPORT.
    void share_port() noexcept { shares_port_ = true; }
    [[nodiscard]] bool shares_port() const noexcept { return shares_port_; }
    [[nodiscard]] int take_error() noexcept { return std::exchange(error_, 0); }
    /// SIOCOUTQ.
    [[nodiscard]] std::size_t unsent() const noexcept;

    [[nodiscard]] State state() const noexcept { return state_; }
    [[nodiscard]] Endpoint* peer() const noexcept { return peer_; }
    [[nodiscard]] const Place& local() const noexcept { return local_; }
    [[nodiscard]] const Place& remote() const noexcept { return remote_; }
    void set_link(const Link& link) noexcept { link_ = link; }
    void set_places(const Place& local, const Place& remote) noexcept;

    // What really came here over the wire, read or not: the truth that oracles compare with.
    [[nodiscard]] std::uint64_t bytes_arrived() const noexcept { return bytes_arrived_; }
    [[nodiscard]] bool fin_arrived() const noexcept { return fin_received_; }
    [[nodiscard]] bool reset_arrived() const noexcept { return reset_received_; }
    [[nodiscard]] std::size_t unread() const noexcept { return receive_bytes_; }
    /// How it was when its owner closed it.
    struct AtClose {
        eplb::TimePoint when{};
        std::optional<eplb::TimePoint> unread_since{};  ///< when the first unread byte arrived
        std::optional<eplb::TimePoint> writable_since{};
        eplb::TimePoint sent_at{};  ///< the latest byte
    };
    [[nodiscard]] const AtClose& at_close() const noexcept { return at_close_; }

    /// For an end that no epoll set watches: called, soon, whenever poll() may say something new.
    void on_wake(std::function<void()> call) { on_wake_ = std::move(call); }

    // The handshake. Both ends are the kernel's, and are joined before anything is sent.
    void join(Endpoint& peer) noexcept;
    void start_connecting() noexcept { state_ = State::syn_sent; }
    void establish() noexcept;
    void fail_connecting(int error) noexcept;
    /// Of a connection nobody accepts, or whose owner is gone.
    void abort() noexcept;

private:
    struct Segment {
        std::vector<std::byte> bytes;
        std::size_t begin = 0;
        bool urgent = false;  // the last byte is
        eplb::TimePoint arrived{};
        [[nodiscard]] std::size_t size() const noexcept { return bytes.size() - begin; }
    };

    [[nodiscard]] bool writable() const noexcept;
    [[nodiscard]] bool at_urgent_mark() const noexcept { return urgent_at_ == read_position_; }
    [[nodiscard]] std::span<const std::byte> readable_piece(std::size_t limit) const noexcept;
    [[nodiscard]] eplb::sys::IoResult nothing_to_read() noexcept;
    void consume(std::size_t count) noexcept;
    void notify(std::uint32_t key) noexcept;
    void enqueue(std::span<const std::byte> bytes, bool urgent) noexcept;
    void transmit() noexcept;
    void at_wire(std::function<void()> event);
    void on_segment(Segment segment) noexcept;
    void on_ack(std::size_t bytes) noexcept;
    void on_fin() noexcept;
    void on_fin_ack() noexcept;
    void on_reset() noexcept;
    void send_fin() noexcept;
    void send_reset() noexcept;
    void done() noexcept;

    Kernel& kernel_;
    Link link_;
    State state_ = State::closed;
    Endpoint* peer_ = nullptr;
    Place local_;
    Place remote_;
    std::function<void()> on_wake_;
    bool wake_pending_ = false;

    std::deque<Segment> receive_queue_;
    std::size_t receive_bytes_ = 0;
    std::uint64_t read_position_ = 0;
    std::uint64_t arrive_position_ = 0;
    std::uint64_t bytes_arrived_ = 0;
    std::optional<std::uint64_t> urgent_at_;

    std::deque<Segment> send_queue_;  // not on the wire yet
    std::size_t queued_ = 0;          // not acknowledged yet: on the wire or not
    std::size_t in_flight_ = 0;       // on the wire
    eplb::TimePoint wire_time_{};
    bool no_space_ = false;  // SOCK_NOSPACE
    eplb::TimePoint sent_at_{};
    eplb::TimePoint writable_since_{};
    AtClose at_close_;

    int error_ = 0;              // sk_err
    bool read_shut_ = false;     // RCV_SHUTDOWN
    bool write_shut_ = false;    // SEND_SHUTDOWN
    bool fin_received_ = false;  // SOCK_DONE
    bool reset_received_ = false;
    bool fin_queued_ = false;
    bool fin_unacked_ = false;
    bool fin_sent_ = false;
    bool linger_zero_ = false;
    bool shares_port_ = false;
    bool orphan_ = false;
};

/// A listening socket and its queue of connections that wait for accept(2).
class Listener final : public File {
public:
    Listener(Kernel& kernel, const Place& place, std::size_t backlog, bool shared) noexcept
        : kernel_{kernel}, place_{place}, backlog_{backlog}, shared_{shared} {}

    [[nodiscard]] const char* kind() const noexcept override { return "listener"; }
    [[nodiscard]] std::uint32_t poll() noexcept override;
    void release() noexcept override;

    [[nodiscard]] const Place& place() const noexcept { return place_; }
    /// By SO_REUSEPORT.
    [[nodiscard]] bool shared() const noexcept { return shared_; }
    /// As Linux allows it to be set on one that listens already.
    void share_port() noexcept { shared_ = true; }
    /// listen(2) once more.
    void set_backlog(std::size_t backlog) noexcept { backlog_ = backlog; }
    [[nodiscard]] bool full() const noexcept { return queue_.size() > backlog_; }
    [[nodiscard]] bool empty() const noexcept { return queue_.empty(); }
    [[nodiscard]] std::size_t waiting() const noexcept { return queue_.size(); }
    void push(Endpoint& connection) noexcept;
    [[nodiscard]] Endpoint& pop() noexcept;

private:
    Kernel& kernel_;
    Place place_;
    std::size_t backlog_;
    bool shared_;
    std::deque<Endpoint*> queue_;
};

}  // namespace sim
