#pragma once

#include "eplb/proxy.hpp"
#include "eplb/task.hpp"
#include "proxy/duplex.hpp"
#include "proxy/service.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace eplb {

class Session;

/// Marks the hook by which the proxy lists all of its sessions.
struct AllSessions;
/// Marks the hook by which it lists those that wait for descriptors or memory.
struct StarvedSessions;

/// What a session needs of the proxy that it is part of.
class SessionHost {
public:
    [[nodiscard]] virtual Reactor& reactor() noexcept = 0;
    [[nodiscard]] virtual RelayContext& relay_context() noexcept = 0;
    /// It has to wait for a resource that this machine is short of, and is to be listed until it is
    /// woken.
    virtual void on_starved(Session& session, int error) noexcept = 0;
    /// Descriptors or memory may have come free: a starved session got what it waited for.
    virtual void on_room() noexcept = 0;
    virtual void on_session_start(const SessionStart& start) noexcept = 0;
    virtual void on_session_end(const SessionSummary& summary) noexcept = 0;
    /// After the session is gone and its descriptors are closed.
    virtual void on_session_gone() noexcept = 0;

protected:
    ~SessionHost() = default;
};

/// A client's connection, from accept to the log line.
///
///   connecting -> connecting   the backend failed; another one is left that was not tried
///   connecting -> starved      no descriptor or memory for the backend's socket
///   starved    -> connecting   some came free, or a little time went by
///   connecting -> relaying     a backend answered
///   any        -> ended        nobody left to try; the client reset; told to reset
///
/// No byte of the client is read before a backend answered, so trying another one loses nothing.
/// The client's FIN is not looked at until then either: whoever sends a request and closes still
/// wants the answer. Allocated with new; deletes itself when it retires.
class Session final : public Task, public ListHook<AllSessions>, public ListHook<StarvedSessions> {
public:
    /// `listener` outlives the session, as do the others. The session begins in its first run().
    Session(SessionHost& host, Service& service, const Address& listener, Fd client,
            const Address& peer);

    Next run() noexcept override;
    void retire() noexcept override;

    /// Ends the wait of a starved session, for now: it tries again in its next run().
    void wake() noexcept;
    /// Closes both connections with a reset; it is over in its next run().
    void reset(EndReason reason) noexcept;

private:
    enum class Phase : std::uint8_t { fresh, connecting, starved, relaying, ended };

    Next begin() noexcept;
    Next try_again() noexcept;
    Next connect_to_next() noexcept;
    [[nodiscard]] std::optional<Next> connect_to_backend() noexcept;
    [[nodiscard]] int start_connecting(const Backend& backend) noexcept;
    Next check_connection() noexcept;
    [[nodiscard]] bool is_connected_to_itself() const noexcept;
    Next connected() noexcept;
    Next starve(int error) noexcept;
    void attempt_failed(int error) noexcept;
    Next give_up() noexcept;
    Next end(EndReason reason, int error = 0) noexcept;
    [[nodiscard]] Duration age() const noexcept;

    SessionHost& host_;
    Service& service_;
    const Address& listener_;
    Address client_;
    Duplex duplex_;
    Backend::Lease backend_;
    std::vector<FailedAttempt> failed_;
    TimePoint accepted_;
    Duration connect_time_{0};
    Phase phase_ = Phase::fresh;
    bool woken_ = false;
};

}  // namespace eplb
