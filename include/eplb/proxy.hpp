// proxy: the whole balancer.
#pragma once

#include "eplb/backend.hpp"
#include "eplb/config.hpp"
#include "eplb/export.hpp"
#include "eplb/relay.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eplb {

class Reactor;

/// How much an operator should care.
enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// An attempt to connect that led nowhere.
struct FailedAttempt {
    std::shared_ptr<const Backend> backend;  ///< also when it was removed meanwhile
    int error = 0;                           ///< errno; ETIMEDOUT for our own timeout
    /// What the kernel refused of our own socket before anybody was asked: "source", "mark" and the
    /// like, as the configuration calls it; empty: nothing, it is about the backend or the way there.
    /// Static text.
    std::string_view option = {};
};

/// What is told of a session when a backend has answered. The references are valid during the call
/// only.
struct SessionStart {
    const Address& client;     ///< or whom a PROXY header named
    std::string_view service;  ///< its name
    const Address& listener;   ///< where the client came in
    const Backend& backend;    ///< the one that answered
    Duration connect_time{0};  ///< since accept
};

/// What is told of a session when it is over. The references are valid during the call only.
struct SessionSummary {
    const Address& client;     ///< or whom a PROXY header named
    std::string_view service;  ///< its name
    const Address& listener;   ///< where the client came in
    /// The one that served it, or that was being connected to when it ended; or nullptr.
    const Backend* backend = nullptr;
    /// In the order in which they were made.
    const std::vector<FailedAttempt>& failed_attempts;
    std::uint64_t bytes_up = 0;    ///< client to backend
    std::uint64_t bytes_down = 0;  ///< backend to client
    Duration connect_time{0};      ///< from accept until a backend answered, or until giving up
    Duration total_time{0};        ///< from accept
    EndReason reason = EndReason::drain;  ///< why it ended
    int error = 0;                        ///< the errno behind the reason, or 0
    /// What was wrong with a PROXY header, or which option of our own socket the kernel refused, as
    /// FailedAttempt::option; static text.
    std::string_view problem;
    /// As told to the backend, if the service wants that.
    std::string_view unique_id;
    /// Who sent the PROXY header that says who the client is; or nullptr.
    const Address* proxy = nullptr;
};

/// Whoever wants to know. Called in the middle of things, so it must not throw. It may call anything
/// of the proxy but apply(), and may destroy it; what drain() and reset_sessions() do begins after
/// that call then, at the latest in the next turn. Once the proxy is being destroyed, calls that
/// change something do nothing.
///
/// Called on the thread of the worker that it is about: with one worker that is the reactor's. With
/// several, calls come from several threads at once, and only those on the reactor's may touch the
/// proxy; others can Reactor::post().
class EPLB_API ProxyObserver {
public:
    virtual ~ProxyObserver() = default;
    /// Something an operator should know of that no single session can tell.
    virtual void on_event(LogLevel level, std::string_view message) noexcept = 0;
    /// A backend has answered. Does nothing by default.
    virtual void on_session_start(const SessionStart& start) noexcept { static_cast<void>(start); }
    /// Its sockets are closed. Told of every client that was accepted, even of those who were
    /// turned away. Does nothing by default.
    virtual void on_session_end(const SessionSummary& summary) noexcept {
        static_cast<void>(summary);
    }
};

/// What a proxy knows of a backend at some moment.
struct BackendStatus {
    std::string service;         ///< its name
    std::string name;            ///< as configured; may be empty
    Address address;             ///< where its sessions are sent
    std::uint32_t weight = 1;    ///< as configured, during a slow start too
    std::size_t active = 0;      ///< sessions, now; those that the server has finished, too
    std::uint64_t attempts = 0;  ///< sessions that were sent to it, ever
    std::uint64_t failures = 0;  ///< those of them that could not connect
    bool removed = false;        ///< by apply(); only its last sessions are left
    /// What Proxy::set_backend() said.
    Backend::Wanted wanted = Backend::Wanted::up;
    bool down = false;     ///< its checks say so
    bool ejected = false;  ///< it failed clients, and is left alone for a while
    bool untried = false;  ///< it is new, and waits for its first check
};

/// What a proxy knows of a listener at some moment.
struct ListenerStatus {
    std::string service;     ///< its name
    Address address;         ///< as configured
    std::size_t active = 0;  ///< sessions that came in by it, and are not over yet
};

/// Of all workers together. Numbers that go on changing are not all of the same moment.
struct ProxyStats {
    std::size_t active_sessions = 0;              ///< accepted, and not over yet
    std::vector<std::size_t> sessions_by_worker;  ///< the first is on the proxy's thread
    std::uint64_t accepted = 0;                   ///< clients, ever
    PipePool::Stats pipes;                        ///< of all pools together
};

/// What Proxy::prepare() made of a configuration. Copies are the same one, and cheap. Once it was
/// applied, the last copy frees what it replaced when it goes, which takes its time where there are
/// thousands of backends: on whichever thread that is.
class EPLB_API PreparedConfig {
public:
    /// What it was made of.
    [[nodiscard]] const Config& config() const noexcept;

private:
    friend class Proxy;
    struct Impl;
    explicit PreparedConfig(std::shared_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
    std::shared_ptr<Impl> impl_;
};

/// A whole balancer: accepts on its listeners and relays each connection to one of its backends.
///
/// It works on the reactor it is given, and, if the configuration wants more than one worker, on
/// further reactors with a thread each, which it starts and ends itself. Belongs to the thread of
/// the reactor it is given, which outlives it, as does the observer. That reactor has to turn while
/// the proxy lives; destroying the proxy waits for the other threads.
class EPLB_API Proxy {
public:
    /// Opens every listener, or throws and leaves nothing open: std::system_error (cannot listen),
    /// std::invalid_argument (a configuration that makes no sense, like a backend that is our own
    /// listener), std::runtime_error (more connections than the process has descriptors for).
    Proxy(Reactor& reactor, const Config& config, ProxyObserver& observer);
    /// Resets the sessions that are left, and tells the observer of their ends. Within a call of the
    /// observer: when it returns nobody is told anything any more, and sessions and listening sockets
    /// go after that call, at the latest in the reactor's next turn. What a custom Balancer looks at
    /// has to stay until then. It waits for the other threads, so its caller must not hold a lock that
    /// the observer takes there.
    ~Proxy();
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    /// Goes over to another configuration, while sessions go on under it. Listeners whose address
    /// stays keep their sockets, so no client notices; backends that stay (same service and address)
    /// keep their sessions, counts and state; what is gone follows its service's `on_remove`.
    /// `workers` and `busy_poll` stay as they were.
    ///
    /// A service stays if its name does, or one of its listeners. With another name it, or a backend,
    /// is called otherwise from then on, and nothing else happens.
    ///
    /// A backend that a service did not have gets no clients before its first check has passed, unless
    /// no other one is usable, or there are no checks. One that had left is what it was (down, ejected,
    /// not wanted, starting slowly) if it returns before `fall` checks would have found that anew.
    ///
    /// Throws as the constructor does, and then nothing has changed. `on_applied` is called when all
    /// workers work by the new configuration: never within this call, and with one worker at the
    /// latest in the next turn. Until they all do, once the proxy drains, and from within a call of the
    /// observer, std::logic_error is thrown. `on_applied` may throw: the exception leaves
    /// Reactor::run_once().
    void apply(const Config& config, std::function<void()> on_applied = {});
    /// The dear part of apply(), which takes time in proportion to the configuration: who stays and who
    /// is new, tables of hashes, all that can be said without opening anything. Throws
    /// std::invalid_argument as the constructor does. Changes nothing and calls nobody, not even
    /// ServiceConfig::make_balancer, whose copies go where the result goes. Any thread, also while
    /// another configuration is being applied; the proxy outlives the call.
    [[nodiscard]] PreparedConfig prepare(Config config) const;
    /// As apply(prepared.config()), and cheap: what has not changed is not touched. Once: if something
    /// was applied since `prepared` was made, it is made anew, within this call.
    void apply(const PreparedConfig& prepared, std::function<void()> on_applied = {});
    /// What of the last apply() could not be done on listeners that stay, for people: an option that
    /// the kernel refused, which is as it was, or a Unix socket whose file is not its own any more.
    /// Complete when `on_applied` is called. The observer is told as it comes up.
    [[nodiscard]] std::vector<std::string> listener_troubles() const;
    /// The configuration that was applied last. The reference is good until the next apply().
    [[nodiscard]] const Config& config() const noexcept;

    /// What an operator wants of the backends of `service` that are called `backend`, by name or by
    /// address. Returns how many there are in config(), be it all applied yet or not. It stays so,
    /// whatever apply() says, for as long as the backend is there, and the short time after that of
    /// which apply() tells. In maintenance a backend is not checked.
    std::size_t set_backend(std::string_view service, std::string_view backend,
                            Backend::Wanted wanted);

    /// Closes the listeners, after accepting what their backlogs hold, and calls `on_drained` when
    /// the last session is over; those that are left after `timeout` (zero, or Duration::max(): never)
    /// are reset first. `on_drained` is never called within this call, nor within one of the observer,
    /// and gets the number of sessions that had to be reset. It may destroy the proxy, and may throw:
    /// the exception leaves Reactor::run_once(). Called again, the new timeout and `on_drained` take
    /// the place of the old ones. An apply() that some workers have not followed yet comes to its end
    /// first: the listeners are closed then.
    void drain(Duration timeout, std::function<void(std::size_t reset_sessions)> on_drained);
    /// The same; each service's sessions have the service's `drain_timeout`.
    void drain(std::function<void(std::size_t reset_sessions)> on_drained);
    /// Resets every session that there is: they end with EndReason::drain, 64 of each worker in a turn,
    /// the first ones in the next turn or the one after it.
    void reset_sessions() noexcept;

    /// Sessions at a time, as configured or as worked out.
    [[nodiscard]] std::size_t max_connections() const noexcept;
    /// Accepted, and not over yet.
    [[nodiscard]] std::size_t active_sessions() const noexcept;
    /// Asks no worker to stop: a few loads for each.
    [[nodiscard]] ProxyStats stats() const;
    /// The addresses really listened on, in the order of the configuration: port 0 has become a
    /// number.
    [[nodiscard]] std::vector<Address> listen_addresses() const;
    /// In the order of the configuration, and then those that were removed and still have sessions.
    /// Any thread, as long as the proxy outlives the call.
    [[nodiscard]] std::vector<BackendStatus> backends() const;
    /// In the order of the configuration. Any thread, likewise.
    [[nodiscard]] std::vector<ListenerStatus> listeners() const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace eplb
