#pragma once

#include "eplb/clock.hpp"
#include "sim/crew.hpp"
#include "sim/epoll.hpp"
#include "sim/pipe.hpp"
#include "sim/random.hpp"
#include "sim/tcp.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <vector>

namespace sim {

/// What goes wrong by itself: each is "once in so many calls", 0 for never.
struct Faults {
    std::uint32_t accept_shortage =
        0;                             ///< EMFILE, ENFILE, ENOBUFS, ENOMEM; the client stays queued
    std::uint32_t accept_aborted = 0;  ///< ECONNABORTED; the client is gone
    std::uint32_t socket_shortage = 0;
    std::uint32_t pipe_shortage = 0;
    std::uint32_t epoll_add = 0;  ///< ENOMEM, ENOSPC
    std::uint32_t spurious_wake = 0;
    std::uint32_t early_return = 0;  ///< epoll_wait() says EINTR
    /// In the middle of a call, and after each second letter to a worker, other workers turn.
    std::uint32_t preemption = 0;
    /// The program stands still for up to `longest_stall`, anywhere, while the kernel and the other
    /// machines go on: it was stopped and continued, say.
    std::uint32_t stall = 0;
    eplb::Duration longest_stall{0};
    /// From this splice(2) on, each one says `splice_error`; negative: none does.
    std::int64_t splice_refused_after = -1;
    int splice_error = 0;
};

struct KernelOptions {
    std::uint64_t seed = 1;
    eplb::TimePoint start{std::chrono::hours{1}};
    Link link{};
    /// What time a system call takes, at most; the network goes on in the meantime.
    eplb::Duration call_time{0};
    bool shuffle_events = false;
    std::size_t events_per_wait = 512;  ///< fewer: more of them wait than fit
    /// epoll_wait() returns, if need be with 0, whenever anything happened anywhere: for tests that
    /// watch closely.
    bool short_waits = false;
    bool jitter = false;          ///< latencies vary
    std::size_t pipe_slots = 16;  ///< of a new pipe; fewer than 16: F_SETPIPE_SZ is EPERM as well
    std::size_t max_descriptors = 10'000;
    Faults faults{};
};

/// What a connect(2) leads to.
struct Dialled {
    enum class Kind : std::uint8_t {
        accepted,          ///< EINPROGRESS, and then success
        accepted_at_once,  ///< 0: as with Unix sockets
        refused_at_once,   ///< `error`, from connect(2) itself
        fails,             ///< EINPROGRESS, and then `error`
        silent,            ///< EINPROGRESS, and nothing ever
        itself,            ///< the socket is connected to itself
    };
    Kind kind = Kind::accepted;
    int error = 0;
    eplb::Duration delay{0};
    /// Given the server's end.
    std::function<void(Endpoint&)> on_accept{};
    /// In place of KernelOptions::link.
    std::function<Link()> link{};
};

/// A Linux that lives in this object: descriptors, sockets, pipes, epoll, a network with other
/// machines on it, and time. Deterministic: the same seed and the same calls give the same answers.
/// The functions of eplb::sys go to the kernel that was constructed last.
class Kernel {
public:
    /// Where descriptor numbers begin: far above the real ones, so that a call that
    /// slips past the seam fails at once.
    static constexpr int first_descriptor = 10'000;

    explicit Kernel(KernelOptions options = {});
    ~Kernel();
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

    [[nodiscard]] static Kernel& current() noexcept;
    [[nodiscard]] KernelOptions& options() noexcept { return options_; }
    [[nodiscard]] Random& random() noexcept { return random_; }

    // --- time

    [[nodiscard]] const eplb::Clock& clock() const noexcept { return clock_; }
    [[nodiscard]] eplb::TimePoint now() const noexcept { return now_; }
    void at(eplb::TimePoint time, std::function<void()> event);
    void after(eplb::Duration delay, std::function<void()> event) {
        at(now_ + delay, std::move(event));
    }
    [[nodiscard]] eplb::Duration jitter(eplb::Duration latency) noexcept;
    /// Makes epoll_wait() say EINTR, as a signal would: for worlds that have something to do
    /// themselves.
    void interrupt() noexcept { interrupted_ = true; }
    /// Lets the network go on for so long; 0: does what is due.
    void advance(eplb::Duration by);
    /// Until anything happens in the network, or for as long as that; negative: for ever. For who
    /// turns several reactors, when none of them has anything to do.
    void sleep(eplb::Duration most) noexcept;

    // --- processors

    /// The reactors of other workers.
    [[nodiscard]] Crew& crew() noexcept { return crew_; }
    /// Where another processor might be faster; does nothing without Faults::preemption.
    void let_others_run() noexcept;

    // --- other machines

    /// Makes `place` answer; called for each connect(2) to it. Who is not told of refuses.
    void serve(const Place& place, std::function<Dialled()> answer);
    /// A client's end that is connecting to `port` of this machine.
    [[nodiscard]] Endpoint& dial(std::uint16_t port, const Link& link);
    /// A connected socket of this machine, as accept(2) would return it, and its other end.
    struct Pair {
        int fd = -1;
        Endpoint* remote = nullptr;
    };
    [[nodiscard]] Pair connected_pair(const Link& link);
    [[nodiscard]] Pair connected_pair() { return connected_pair(options_.link); }

    // --- what went on

    /// A rule of the system calls was broken: a use after close, say.
    void violation(std::string text) noexcept;
    [[nodiscard]] const std::vector<std::string>& violations() const noexcept {
        return violations_;
    }
    /// epoll_wait() was asked to wait for ever while nothing was left that could happen.
    [[nodiscard]] bool stalled() const noexcept { return stalled_; }
    void forget_stall() noexcept { stalled_ = false; }
    [[nodiscard]] std::size_t open_descriptors() const noexcept { return open_count_; }
    /// What is open, for messages: "socket 3, pipe 2".
    [[nodiscard]] std::string describe_open() const;
    [[nodiscard]] std::size_t open_pipes() const noexcept;
    [[nodiscard]] std::size_t bytes_in_pipes() const noexcept;
    [[nodiscard]] std::uint64_t calls() const noexcept { return calls_; }
    [[nodiscard]] std::uint64_t splices() const noexcept { return splices_; }
    /// How long it stood still, in total.
    [[nodiscard]] eplb::Duration stalled_for() const noexcept { return stalled_for_; }
    [[nodiscard]] std::uint64_t pipes_made() const noexcept { return pipes_made_; }
    /// Calls in a row, up to now, that neither moved nor changed anything.
    [[nodiscard]] std::uint64_t idle_calls() const noexcept { return idle_calls_; }
    /// Of all calls: those that were of use, and what happened in the network.
    [[nodiscard]] std::uint64_t progress() const noexcept { return progress_; }
    void note_progress() noexcept {
        ++progress_;
        idle_calls_ = 0;
    }

    // --- for the system calls

    /// Every call begins here: time goes by, and with it the network. `locked`: a mutex is held,
    /// so no other worker may turn.
    void enter(bool locked = false) noexcept;
    /// The file behind `fd`; a bad descriptor is a violation.
    [[nodiscard]] File* file(int fd, const char* call) noexcept;
    template <class T>
    [[nodiscard]] T* file_as(int fd, const char* call) noexcept {
        File* const found = file(fd, call);
        T* const typed = dynamic_cast<T*>(found);
        if (found != nullptr && typed == nullptr) {
            violation(std::string{call} + " on a descriptor of another kind: " + found->kind());
        }
        return typed;
    }
    /// The lowest free number, or -EMFILE.
    [[nodiscard]] int open(File& file) noexcept;
    void close(int fd) noexcept;
    void replace(int fd, File& file) noexcept { table_[index(fd)] = &file; }
    template <class T, class... Args>
    [[nodiscard]] T& make(Args&&... args) {
        auto made = std::make_unique<T>(std::forward<Args>(args)...);
        T& reference = *made;
        files_.push_back(std::move(made));
        return reference;
    }
    [[nodiscard]] Pipe& make_pipe();
    [[nodiscard]] int shortage() noexcept;
    [[nodiscard]] int splice_refusal() noexcept;
    /// `shared`: by SO_REUSEPORT.
    [[nodiscard]] int listen(int fd, const Place& place, int backlog, bool shared) noexcept;
    void forget(const Listener& listener) noexcept;
    [[nodiscard]] int accept(Listener& listener, Place& peer) noexcept;
    [[nodiscard]] int connect(Endpoint& socket, const Place& to) noexcept;
    [[nodiscard]] int wait(Epoll& epoll, std::span<epoll_event> events, int timeout_ms) noexcept;
    [[nodiscard]] std::uint16_t free_port() noexcept { return next_port_++; }

private:
    struct Event {
        eplb::TimePoint time;
        std::uint64_t order;
        std::function<void()> run;
        friend bool operator<(const Event& a, const Event& b) noexcept {
            return a.time != b.time ? a.time > b.time : a.order > b.order;
        }
    };
    class SimClock final : public eplb::Clock {
    public:
        explicit SimClock(const Kernel& kernel) noexcept : kernel_{kernel} {}
        [[nodiscard]] eplb::TimePoint now() const noexcept override { return kernel_.now(); }

    private:
        const Kernel& kernel_;
    };

    [[nodiscard]] static std::size_t index(int fd) noexcept {
        return static_cast<std::size_t>(fd - first_descriptor);
    }
    bool run_due() noexcept;  // whether there was anything
    bool stall_by_chance() noexcept;
    void offer(Endpoint& client, std::uint16_t port, const Link& link);
    [[nodiscard]] Listener* listener_on(std::uint16_t port) noexcept;

    KernelOptions options_;
    Random random_;
    SimClock clock_{*this};
    eplb::TimePoint now_;
    std::priority_queue<Event> events_;
    std::uint64_t next_order_ = 0;

    std::vector<std::unique_ptr<File>> files_;  // all that ever were: pointers to them stay good
    std::vector<std::unique_ptr<Pipe>> pipes_;
    std::vector<File*> table_;
    std::size_t open_count_ = 0;
    std::map<std::uint16_t, std::vector<Listener*>> listeners_;  // several share a port
    Crew crew_;
    std::map<Place, std::function<Dialled()>> servers_;
    std::uint16_t next_port_ = 40'000;
    std::uint32_t next_client_ip_ = 0xc6336401U;  // 198.51.100.1

    std::vector<std::string> violations_;
    bool stalled_ = false;
    bool interrupted_ = false;
    eplb::Duration stalled_for_{0};
    std::uint64_t calls_ = 0;
    std::uint64_t idle_calls_ = 0;
    std::uint64_t progress_ = 0;
    std::uint64_t splices_ = 0;
    std::uint64_t pipes_made_ = 0;
    Kernel* previous_;
};

}  // namespace sim
