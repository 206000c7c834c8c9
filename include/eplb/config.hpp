// proxy: what a proxy is to do.
#pragma once

#include "eplb/address.hpp"
#include "eplb/balancer.hpp"
#include "eplb/cidr.hpp"
#include "eplb/clock.hpp"
#include "eplb/flow.hpp"
#include "eplb/health_check.hpp"
#include "eplb/proxy_protocol_versions.hpp"
#include "eplb/rate.hpp"
#include "eplb/socket_options.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <type_traits>
#include <utility>
#include <vector>

namespace eplb {

// Plain values that say what a Proxy is to do. Nothing here opens or looks up anything. Durations
// may be as long as they like: Duration::max() is never over.

/// Whose the Unix sockets of a service are, chown(2). Nothing: as the process has it.
struct UnixOwner {
    std::optional<uid_t> user;   ///< another than our own takes CAP_CHOWN
    std::optional<gid_t> group;  ///< one that we are not in takes CAP_CHOWN

    friend bool operator==(const UnixOwner& a, const UnixOwner& b) noexcept = default;
};

/// What happens to the sessions of a backend or a listener that Proxy::apply() removed. It gets no
/// new ones, whatever this says.
enum class OnRemove : std::uint8_t {
    drain,  ///< they may go on for the drain timeout, and are reset then
    close,  ///< they are reset at once
    keep,   ///< they go on
};

/// A server of a service.
struct BackendConfig {
    /// None that one of our own listeners would answer, and no wildcard.
    Address address;
    std::string name{};        ///< for logs; empty: the address
    std::uint32_t weight = 1;  ///< its share, in proportion to the others; 0: no new sessions
    bool backup = false;       ///< gets sessions only while no other backend is usable
    std::uint32_t max_connections = 0;  ///< sessions at a time; 0: no limit
    /// Set: it is not to be had any more, as when a name does not stand for it now, and may be had
    /// again; `weight` has to be 0. OnRemove::keep: if the proxy has it, it stays, with its sessions,
    /// and is checked; if not, it is none. Else it is removed, by this and not by the service's
    /// `on_remove`.
    std::optional<OnRemove> absent{};

    friend bool operator==(const BackendConfig& a, const BackendConfig& b) noexcept = default;
};

/// What a PROXY header of version 2 says beside addresses.
struct ProxyTlvConfig {
    bool crc32c = false;  ///< a checksum of the header
    /// What the client's own header said, or else an id that no other session has.
    bool unique_id = false;
    bool authority = false;  ///< the host name that the client's own header said, if any

    friend bool operator==(const ProxyTlvConfig& a, const ProxyTlvConfig& b) noexcept = default;
};

/// What happens to clients who are more than a service may have, or come faster than they may.
enum class OverLimit : std::uint8_t {
    wait,   ///< they wait in the listeners' backlogs until it is their turn
    reset,  ///< they are accepted and reset
};

/// What happens to the sessions of a backend when its checks say that it is down.
enum class OnDown : std::uint8_t {
    keep,   ///< they go on: checks may be wrong
    drain,  ///< they may go on for the drain timeout, and are reset then, unless it is up again
    close,  ///< they are reset at once
};

/// Whether sessions are moved when backends have come back, or are new.
enum class Rebalance : std::uint8_t {
    off,
    /// Those that have been quiet for a while, of backends that have more than their share, are
    /// reset, a few each second: pools of connections spread again.
    idle,
};

/// What happens to clients while no backend works, as far as is known.
enum class WhenAllDown : std::uint8_t {
    try_all,  ///< they are sent to backends all the same: checks may be wrong, a reset is not better
    refuse,   ///< they are reset
};

/// Makes balancers of a program's own; empty: none. Of anything that can be copied, and called without
/// arguments for a std::unique_ptr<Balancer>.
class BalancerMaker {
public:
    /// Empty.
    BalancerMaker() noexcept = default;
    /// Empty.
    BalancerMaker(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor): as a function
    /// What `make` makes.
    template <class Make>
        requires(!std::same_as<std::remove_cvref_t<Make>, BalancerMaker> &&
                 std::constructible_from<std::function<std::unique_ptr<Balancer>()>, Make>)
    BalancerMaker(Make&& make)  // NOLINT(google-explicit-constructor): as a function
        : make_{std::forward<Make>(make)} {}

    /// It is not empty.
    explicit operator bool() const noexcept { return static_cast<bool>(make_); }
    /// Throws what the function throws; std::bad_function_call if it is empty.
    [[nodiscard]] std::unique_ptr<Balancer> operator()() const { return make_(); }

    /// Functions cannot be compared: only those that are empty are the same.
    friend bool operator==(const BalancerMaker& a, const BalancerMaker& b) noexcept {
        return !a && !b;
    }

private:
    std::function<std::unique_ptr<Balancer>()> make_;
};

/// Where clients connect to, which backends they are sent to, and by which rules. The keys of
/// `[[service]]` in the configuration file say the same; docs/configuration.md tells more of them. A
/// negative duration, a connect_timeout of zero and a share above 100 percent are refused by Proxy,
/// with std::invalid_argument.
struct ServiceConfig {
    /// For people, and for Proxy::apply(), which has to know which service is which.
    std::string name = "default";
    /// Port 0: one that the kernel chooses, which Proxy::listen_addresses() tells.
    std::vector<Address> listen;
    /// At least one has a weight above 0, unless Config::may_lack_backends.
    std::vector<BackendConfig> backends;
    /// For each attempt. No further backend is tried once twice this has gone by since the client
    /// came.
    Duration connect_timeout = std::chrono::seconds{5};
    /// How many further backends a client may be sent to, each once, when the first one failed.
    /// Nothing: all of them.
    std::optional<std::size_t> retries;
    /// Zero: never.
    Duration idle_timeout{0};
    /// Without progress. Zero: never.
    Duration half_close_timeout = std::chrono::seconds{60};
    /// As RelayTimeouts.
    Duration max_lifetime{0};
    std::uint32_t lifetime_jitter_percent = 10;              ///< as RelayTimeouts
    Duration dead_peer_timeout = std::chrono::seconds{120};  ///< as RelayTimeouts
    /// Clients begin with a PROXY header, which says who they are; without one, and whoever is not
    /// in `trusted_proxies`, they are reset. The address that it says counts from then on.
    AcceptProxy accept_proxy = AcceptProxy::off;
    /// Empty: nobody.
    std::vector<Cidr> trusted_proxies;
    /// Backends are told who the client is.
    SendProxy send_proxy = SendProxy::off;
    /// For SendProxy::v2 only.
    ProxyTlvConfig proxy_tlvs;
    /// Whoever is in `deny`, or not in `allow` if that says anything, is reset.
    std::vector<Cidr> allow;
    /// Even those that `allow` names.
    std::vector<Cidr> deny;
    /// Sessions at a time; 0: no limit.
    std::uint32_t max_connections = 0;
    /// How often clients may connect, all together.
    Rate connection_rate;
    /// Of `max_connections` and `connection_rate`.
    OverLimit over_limit = OverLimit::wait;
    /// Clients that may wait for a backend when all that work have as many sessions as they may
    /// have, in the order in which they came. Further ones are reset.
    std::uint32_t queue = 1024;
    /// How long each may wait. Zero: as long as it likes.
    Duration queue_timeout = std::chrono::seconds{5};
    /// Down or ejected, that is; when those that work are full, clients wait in the `queue`.
    WhenAllDown when_all_down = WhenAllDown::try_all;
    /// Among the primaries; and among the backups, when there is no other.
    Balance balance = Balance::round_robin;
    /// If set, makes the balancers instead: two for each worker, for primaries and for backups,
    /// whenever a configuration is applied, on the proxy's thread. What it throws leaves the
    /// constructor of Proxy or Proxy::apply(), and nothing has changed; it must not return nullptr.
    /// They are used and destroyed on their workers' threads.
    BalancerMaker make_balancer;
    /// A backend to which so many clients in a row could not connect gets none for
    /// `ejection_time`, twice as long the next time, and so on up to `max_ejection_time`, until it
    /// serves one. 0: never.
    std::uint32_t eject_after = 3;
    Duration ejection_time = std::chrono::seconds{10};     ///< the first time
    Duration max_ejection_time = std::chrono::minutes{5};  ///< the longest
    /// At a time, of the service's backends, rounded down: the only one is never ejected, unless
    /// this is 100.
    std::uint32_t max_ejected_percent = 50;
    /// How every backend is asked whether it works.
    CheckConfig check;
    /// When `check` says so. The sessions of one that is ejected go on.
    OnDown on_down = OnDown::keep;
    /// A backend that works again gets its share of sessions little by little, over so long. Not at
    /// the start of the proxy. Zero: at once.
    Duration slow_start{0};
    /// Not with every `balance`: with round_robin, leastconn and random.
    Rebalance rebalance = Rebalance::off;
    /// How long a session has to be quiet before `rebalance` takes it.
    Duration rebalance_idle = std::chrono::seconds{5};
    /// Of a client's IPv4 address, or the first 64 bits of its IPv6 address; who has more is reset.
    std::uint32_t max_connections_per_source = 0;  ///< 0: no limit
    Rate connection_rate_per_source;               ///< of the same; who comes faster is reset
    /// Of sessions that begin from now on; so it is with `pipe_bytes`.
    RelayMode relay = RelayMode::automatic;
    /// What to ask the kernel for, per pipe; 0: what proved best (docs/benchmarks.md).
    std::size_t pipe_bytes = 0;
    /// How long sessions may go on when their backend or listener was removed, or the proxy is
    /// drained by configuration. Zero: as long as they like.
    Duration drain_timeout = std::chrono::seconds{30};
    /// What was said when the backend or listener was still there counts, of `drain_timeout` too.
    OnRemove on_remove = OnRemove::drain;
    /// Clients that the kernel keeps while nobody accepts them; clamped by net.core.somaxconn.
    std::uint32_t backlog = 4096;
    /// Of listeners, of clients, who inherit them, and of connections to backends. `transparent`:
    /// these come from the client's own address.
    SocketOptions socket;
    std::uint32_t fast_open = 0;  ///< as ListenOptions
    Duration defer_accept{0};     ///< as ListenOptions
    /// Where connections to backends come from, in turn; ports play no role. Empty: as routed.
    std::vector<Address> sources;
    /// Who may connect to Unix sockets, and whose they are; nothing: as the process has it.
    std::optional<mode_t> unix_mode;
    UnixOwner unix_owner;  ///< where they have a path

    /// Whether they say the same.
    friend bool operator==(const ServiceConfig& a, const ServiceConfig& b) = default;
};

/// All that a Proxy is to do.
struct Config {
    /// No two listeners of all of them may be in each other's way.
    std::vector<ServiceConfig> services;
    /// Reactors, each on a thread of its own; at least 1. The clocks of those behind the first are
    /// the system's.
    std::size_t workers = 1;
    /// How long the reactors behind the first spin before they block, as Reactor::set_busy_poll().
    Duration busy_poll{0};
    /// A service in which no backend has a weight above 0 is no mistake: its clients are closed at
    /// once.
    bool may_lack_backends = false;
    /// A listener whose `interface` is not there is no mistake: it is opened when that comes, which is
    /// looked for every second.
    bool may_lack_interfaces = false;
    /// Sessions at a time; further clients wait in the listeners' backlogs. 0: as many as the
    /// process's limit of descriptors allows.
    std::size_t max_connections = 0;
};

}  // namespace eplb
