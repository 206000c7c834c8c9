#pragma once

#include "admission/service_limits.hpp"
#include "admission/source_limits.hpp"
#include "admission/waiting_room.hpp"
#include "eplb/proxy.hpp"
#include "eplb/task.hpp"
#include "protocol/proxy_protocol.hpp"
#include "proxy/failed_attempts.hpp"
#include "proxy/frontend.hpp"
#include "reactor/dial.hpp"
#include "relay/duplex.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace eplb {

class Session;

/// What a session needs of the proxy that it is part of.
class SessionHost : public WaitingRoom::Host {
public:
    [[nodiscard]] virtual Reactor& reactor() noexcept = 0;
    /// It has to wait for a resource that this machine is short of, and is to be woken when some
    /// may have come free. `again`: it still has to.
    virtual void on_starved(Session& session, bool again, int error) noexcept = 0;
    /// It ends, because there is no memory for what it needs.
    virtual void on_out_of_memory() noexcept = 0;
    /// A starved session got what it waited for, or waits no more.
    virtual void on_provided(Session& session) noexcept = 0;
    /// Whether a client of `service` whom a backend failed at once may be tried with another one in
    /// this turn; it is that turn's last but for so many.
    [[nodiscard]] virtual bool may_try_at_once(const Service& service) noexcept = 0;
    /// A backend of `service` may have room for who waits, or whoever was to be called first has
    /// left.
    virtual void call_first(Service& service) noexcept = 0;
    /// A session of it has begun, or has ceased, to wait for `service`.
    virtual void on_waiting(Service& service) noexcept = 0;
    virtual void on_waited(Service& service) noexcept = 0;
    /// As many clients in a row as its service allows, or more, could not connect to it.
    virtual void on_backend_failing(const Backend& backend) noexcept = 0;
    /// It answered, after some could not connect.
    virtual void on_backend_answering(const Backend& backend) noexcept = 0;
    /// There are more sources of clients than its SourceLimits can tell apart; told once.
    virtual void on_sources_without_place(const Service& service) noexcept = 0;
    virtual void on_session_start(const SessionStart& start) noexcept = 0;
    virtual void on_session_end(const SessionSummary& summary) noexcept = 0;
    /// The session is over, and is to be destroyed.
    virtual void destroy(Session& session) noexcept = 0;

protected:
    ~SessionHost() = default;
};

/// A client's connection, from accept to the log line.
///
///   fresh      -> greeting     the service wants a PROXY header
///   fresh      -> connecting   else
///   greeting   -> connecting   the header has come, and says who the client is
///   connecting -> connecting   the backend failed; another one is left that was not tried
///   connecting -> retrying     the same, but in this turn enough were tried
///   retrying   -> connecting   in the next one
///   any of these -> queued    all backends that work have as many sessions as they may have
///   queued     -> connecting  one of them has room, and nobody has waited for longer
///   connecting -> backlogged   the backlog of a Unix backend is full
///   backlogged -> connecting   a little time went by
///   connecting -> starved      no descriptor or memory for the backend's socket
///   starved    -> connecting   some came free, or a little time went by
///   connecting -> relaying     a backend answered
///   fresh      -> ended        the service does not admit it
///   any        -> ended        nobody left to try; the client reset; told to reset; no memory
///
/// No byte of the client is read before a backend answered, so trying another one loses nothing.
/// The client's FIN is not looked at until then either: whoever sends a request and closes still
/// wants the answer. Belongs to its host, which destroys it when it retires.
class Session final : public Task, public ListHook<Session>, public WaitingRoom::Guest {
public:
    /// `host` and `frontend` outlive the session, which begins in its first run(). `verdict` is its
    /// service's; whoever was not admitted is reset.
    Session(SessionHost& host, Frontend& frontend, Fd client, const Address& peer,
            Admission verdict);

    ~Session() override;

    Next run() noexcept override;
    void retire() noexcept override;

    /// It has turned out to be no short one: what a short one does not need is done now.
    void settle() noexcept;
    [[nodiscard]] Duration age() const noexcept;
    /// Whether it counts in the limits of its service.
    [[nodiscard]] bool admitted() const noexcept { return verdict_ == Admission::admitted; }
    /// Looks whether its peers are still there, and how long its backend takes, as its service has it
    /// in this round; `round` is another number each time, but for 0.
    void inspect(std::uint8_t round) noexcept;
    /// How long nothing has moved, if the server spoke last and both have all that was sent to them.
    [[nodiscard]] std::optional<Duration> quiet() const noexcept;
    [[nodiscard]] std::uint8_t inspected_in() const noexcept { return inspected_in_; }
    /// The round of its worker's errands that it was looked at in.
    [[nodiscard]] std::uint8_t visited_in() const noexcept { return visited_in_; }
    void set_visited_in(std::uint8_t round) noexcept { visited_in_ = round; }
    [[nodiscard]] Frontend& frontend() const noexcept { return frontend_; }
    /// What it relays by: its service's, when it began.
    [[nodiscard]] RelayContext& relay_context() const noexcept { return duplex_.context(); }
    /// The one that it is connected to, or being connected to; or nullptr.
    [[nodiscard]] const Backend* backend() const noexcept { return backend_.get(); }

    /// Ends the wait of a starved or a queued session, for now: it tries again in its next run().
    void wake() noexcept;
    /// Closes both connections with a reset; it is over in its next run().
    void reset(EndReason reason) noexcept;

private:
    enum class Phase : std::uint8_t {
        fresh,
        greeting,
        queued,
        connecting,
        retrying,
        backlogged,
        starved,
        relaying,
        ended
    };

    // What few sessions have.
    struct Rare {
        FailedAttempts failed;
        ProxyHeader header;              // that came
        std::optional<Address> proxy;    // who sent it; a Unix socket may have no name
        bool nothing_behind_it = false;  // of what is readable, for all that is known
        std::string unique_id;
        std::string_view problem;
        std::optional<WaitingRoom::Waiter> waiter;
        TimePoint queued_at;
        Duration waited{0};  // for a backend with room, or for us to look at what one said
    };

    // What may throw, throws std::bad_alloc: see run().
    Next step();
    Next out_of_memory() noexcept;
    Next begin();
    Next expect_header();
    Next read_header();
    Next wait_for_header() noexcept;
    [[nodiscard]] bool has_passed(Duration timeout, TimePoint since) noexcept;
    void note_drained() noexcept;
    Next header_is_bad(std::string_view problem);
    Next admit();
    [[nodiscard]] Rare& rare();
    [[nodiscard]] int send_header();
    [[nodiscard]] Address destination() const noexcept;
    Next try_again();
    Next connect_to_next();
    Next go_on_trying();
    void observe_latency() noexcept;
    Next wait_for_room();
    Next wait_on();
    [[nodiscard]] WaitingRoom::Waiter& waiter();
    [[nodiscard]] bool has_waited_too_long();
    [[nodiscard]] Duration age_without_waiting() const noexcept;
    [[nodiscard]] bool client_left() const noexcept;
    void leave_waiting_room() noexcept;
    void release_backend() noexcept;
    [[nodiscard]] std::optional<Next> connect_to_backend();
    [[nodiscard]] std::optional<Next> dial();
    [[nodiscard]] std::optional<Next> wait_for_backlog();
    Next dial_again();
    void call_next() noexcept;
    Next relay() noexcept;
    [[nodiscard]] DialTarget target() noexcept;
    Next check_connection();
    [[nodiscard]] int check_that_it_is_not_us() noexcept;
    Next connected();
    Next starve(int error);
    void provided() noexcept;
    void attempt_failed(int error, std::string_view option = {});
    Next give_up() noexcept;
    Next end(EndReason reason, int error = 0) noexcept;
    void keep_server_alive() noexcept;

    /// nullptr: nowhere.
    [[nodiscard]] const FailedAttempts* failed() const noexcept;
    /// Of every phase before relaying.
    [[nodiscard]] Timer& timer() noexcept { return duplex_.timer_before_begin(); }
    [[nodiscard]] Service& service() const noexcept { return frontend_.service; }
    [[nodiscard]] bool may_try_another() const noexcept;

    SessionHost& host_;
    Frontend& frontend_;
    Address client_;
    Duplex duplex_;
    Backend::Lease backend_;
    std::unique_ptr<Rare> rare_;
    SourceLimits::Ticket ticket_;
    Duration connect_time_{0};
    Phase phase_ = Phase::fresh;
    bool woken_ = false;
    bool starving_ = false;  // the host was told so
    bool settled_ = false;
    Admission verdict_;
    std::uint8_t inspected_in_ = 0;
    std::uint8_t visited_in_ = 0;
};

}  // namespace eplb
