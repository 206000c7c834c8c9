// The keys of [defaults] and [[service]].
#include "config/make_key.hpp"
#include "eplb/flow.hpp"
#include "eplb/pipe.hpp"

#include <chrono>
#include <cstdint>

namespace eplb::control {
namespace {

using namespace std::chrono_literals;

// Less than this is not worth a splice(2); more than this is not to be had, pipe(7).
constexpr std::uint64_t least_pipe_bytes = PipePool::useful_bytes;
constexpr std::uint64_t most_pipe_bytes = 16 * 1024 * 1024;

KeyTable<ServiceValues> make_service_keys() {
    using V = ServiceValues;
    return {
        key<V>(
            "balance",
            choice_codec<Balance>({{"round_robin", Balance::round_robin},
                                   {"leastconn", Balance::leastconn},
                                   {"random", Balance::random},
                                   {"first", Balance::first},
                                   {"source_hash", Balance::source_hash},
                                   {"consistent", Balance::consistent},
                                   {"least_time", Balance::least_time},
                                   {"peak_ewma", Balance::peak_ewma}}),
            [](auto& v) -> auto& { return v.config.balance; }, "--balance",
            "Which backend a client gets, of those that work and have room, by their weights: "
            "`round_robin` each in turn; `leastconn` the one with the fewest sessions; `random` the "
            "one with fewer sessions of two that are drawn; `first` the first one, until it is full; "
            "`source_hash` always the same for a client's address, on every eplb with these "
            "backends; `consistent` the same, but nobody gets more than 125 % of their share of the "
            "sessions (clients of Unix sockets have no address, and get each backend in turn, as with "
            "HAProxy); `least_time` the one with the least product of sessions and time to answer, "
            "as TCP sees it; `peak_ewma` the better one in that of two that are drawn."),
        key<V>(
            "connect_timeout", duration_codec(),
            [](auto& v) -> auto& { return v.config.connect_timeout; }, "--connect-timeout",
            "A backend has to answer within this, or the next one is tried. No further backend "
            "is tried once twice this has gone by since the client came."),
        key<V>(
            "retries", optional_count_codec(0, 1000),
            [](auto& v) -> auto& { return v.config.retries; }, "",
            "How many further backends a client is sent to, each once, when the first one fails to "
            "answer. `\"auto\"` is all of them."),
        key<V>(
            "idle_timeout", duration_codec(),
            [](auto& v) -> auto& { return v.config.idle_timeout; }, "--idle-timeout",
            "A session in which nothing moves for so long, either way, is reset. Off by default: "
            "databases' pools keep idle connections for hours, and TCP keepalive finds peers "
            "that are gone."),
        key<V>(
            "half_close_timeout", duration_codec(),
            [](auto& v) -> auto& { return v.config.half_close_timeout; }, "--half-close-timeout",
            "The same, once one side has finished sending: a session whose client is gone may "
            "else stay for ever."),
        key<V>(
            "max_lifetime", duration_codec(),
            [](auto& v) -> auto& { return v.config.max_lifetime; }, "",
            "A session as old as this is reset, whatever moves: connection pools spread anew, and "
            "credentials are asked for again."),
        key<V>(
            "max_lifetime_jitter", count_codec(0, 100),
            [](auto& v) -> auto& { return v.config.lifetime_jitter_percent; }, "",
            "In percent: each session may end so much earlier, one more and one less, so that those "
            "that came together do not all come back together."),
        key<V>(
            "dead_peer_timeout", duration_codec({.least = 100ms, .most = 24h}),
            [](auto& v) -> auto& { return v.config.dead_peer_timeout; }, "",
            "A client or backend that has not acknowledged what was sent to it for so long is gone, "
            "and its session is broken; the kernel would try for a quarter of an hour. One that "
            "merely reads slowly, or not at all, acknowledges, and stays."),
        key<V>(
            "drain_timeout", duration_codec(),
            [](auto& v) -> auto& { return v.config.drain_timeout; }, "--drain-timeout",
            "How long sessions may go on after SIGTERM or SIGINT, or after a reload took their "
            "backend or listener away; those that are left then are reset. `\"off\"` waits for "
            "the last one."),
        key<V>(
            "on_remove",
            choice_codec<OnRemove>(
                {{"drain", OnRemove::drain}, {"close", OnRemove::close}, {"keep", OnRemove::keep}}),
            [](auto& v) -> auto& { return v.config.on_remove; }, "",
            "What happens to the sessions of a backend or a listener that a reload takes away. It "
            "gets no new ones; those that it has may go on for `drain_timeout`, are reset at "
            "once, or stay as long as they like."),
        key<V>(
            "accept_proxy",
            choice_codec<AcceptProxy>({{"off", AcceptProxy::off},
                                       {"v1", AcceptProxy::v1},
                                       {"v2", AcceptProxy::v2},
                                       {"any", AcceptProxy::any}}),
            [](auto& v) -> auto& { return v.config.accept_proxy; }, "",
            "Every connection begins with a header of the PROXY protocol, of this version, which "
            "says who the client is. That address counts from then on: for `allow` and `deny`, in "
            "the log, and for whoever is told. Whoever is not in `trusted_proxies` is reset, as is "
            "who sends something else, or no whole header within 10 seconds. In version 1, where the "
            "client connected to may be of another family than the client, or a Unix socket, as "
            "nginx's stream module writes it."),
        key<V>(
            "trusted_proxies", networks_codec(),
            [](auto& v) -> auto& { return v.config.trusted_proxies; }, "",
            "Who may send PROXY headers: networks like `\"10.0.0.0/8\"`, `\"2001:db8::/32\"`, "
            "addresses, and `\"unix:\"` for clients of Unix sockets. Required with "
            "`accept_proxy`."),
        key<V>(
            "send_proxy",
            choice_codec<SendProxy>(
                {{"off", SendProxy::off}, {"v1", SendProxy::v1}, {"v2", SendProxy::v2}}),
            [](auto& v) -> auto& { return v.config.send_proxy; }, "",
            "Backends are told who the client is by a header of the PROXY protocol, of this "
            "version, before the first byte of the client. They have to expect it."),
        key<V>(
            "proxy_tlvs", proxy_tlvs_codec(), [](auto& v) -> auto& { return v.config.proxy_tlvs; },
            "",
            "What a header of version 2 says besides: `crc32c` is a checksum; `unique_id` the id "
            "that came with the client's own header, or else one of ours, which the log has too; "
            "`authority` the host name that came with the client's own header."),
        key<V>(
            "allow", networks_codec(), [](auto& v) -> auto& { return v.config.allow; }, "",
            "If it names any networks, clients from elsewhere are reset. Written as "
            "`trusted_proxies` are."),
        key<V>(
            "deny", networks_codec(), [](auto& v) -> auto& { return v.config.deny; }, "",
            "Clients from these networks are reset, even those that `allow` names."),
        key<V>(
            "max_connections", count_codec(0, 100'000'000),
            [](auto& v) -> auto& { return v.config.max_connections; }, "",
            "Sessions of the service at a time; 0 is no limit of its own."),
        key<V>(
            "connection_rate", rate_codec(),
            [](auto& v) -> auto& { return v.config.connection_rate; }, "",
            "How often clients may connect, all together, written as "
            "`connection_rate_per_source` is."),
        key<V>(
            "over_limit",
            choice_codec<OverLimit>({{"wait", OverLimit::wait}, {"reset", OverLimit::reset}}),
            [](auto& v) -> auto& { return v.config.over_limit; }, "",
            "What happens to clients beyond `max_connections` and `connection_rate`: they wait in "
            "the listeners' backlogs until it is their turn, or are reset."),
        key<V>(
            "queue", count_codec(0, 100'000'000), [](auto& v) -> auto& { return v.config.queue; },
            "",
            "Clients that may wait when every backend that works has as many sessions as its "
            "`max_connections` allows, in the order in which they came; further ones are reset. A "
            "client that has sent nothing and finished leaves the queue: under load most of those "
            "have given up. One that meets room is served all the same, since there are programs "
            "that finish at once and wait for a greeting."),
        key<V>(
            "queue_timeout", duration_codec(),
            [](auto& v) -> auto& { return v.config.queue_timeout; }, "",
            "How long a client waits in the `queue` before it is reset."),
        key<V>(
            "when_all_down",
            choice_codec<WhenAllDown>(
                {{"try_all", WhenAllDown::try_all}, {"refuse", WhenAllDown::refuse}}),
            [](auto& v) -> auto& { return v.config.when_all_down; }, "",
            "What happens to clients while no backend works, as far as is known: they are sent to "
            "backends all the same, since checks may be wrong, or reset at once."),
        key<V>(
            "eject_after", count_codec(0, 1'000'000),
            [](auto& v) -> auto& { return v.config.eject_after; }, "",
            "A backend to which so many clients in a row could not connect gets no clients for "
            "`ejection_time`. 0: that never happens. Without checks, this is what keeps clients from "
            "trying a backend that is gone again and again."),
        key<V>(
            "ejection_time", duration_codec({.may_be_off = false, .least = 1ms}),
            [](auto& v) -> auto& { return v.config.ejection_time; }, "",
            "How long; twice as long each further time, up to `max_ejection_time`, until the backend "
            "has served a client."),
        key<V>(
            "max_ejection_time", duration_codec({.may_be_off = false, .least = 1ms}),
            [](auto& v) -> auto& { return v.config.max_ejection_time; }, "",
            "The longest that a backend is left alone."),
        key<V>(
            "max_ejected_percent", count_codec(0, 100),
            [](auto& v) -> auto& { return v.config.max_ejected_percent; }, "",
            "How many of the backends may be left alone at a time, rounded down. So the only backend "
            "of a service never is, unless this is 100."),
        key<V>(
            "on_down",
            choice_codec<OnDown>(
                {{"keep", OnDown::keep}, {"drain", OnDown::drain}, {"close", OnDown::close}}),
            [](auto& v) -> auto& { return v.config.on_down; }, "",
            "What happens to the sessions of a backend when its checks say that it is down: they go "
            "on, have `drain_timeout` unless it is up again before, or are reset at once."),
        key<V>(
            "slow_start", duration_codec(), [](auto& v) -> auto& { return v.config.slow_start; },
            "",
            "A backend that works again gets its share of the clients little by little, over so "
            "long. Not at the start of eplb."),
        key<V>(
            "rebalance",
            choice_codec<Rebalance>({{"off", Rebalance::off}, {"idle", Rebalance::idle}}),
            [](auto& v) -> auto& { return v.config.rebalance; }, "",
            "`idle`: while a backend has a tenth more than its share of the sessions, and another "
            "one lacks as much, sessions that have been quiet for `rebalance_idle` are reset, about "
            "one in a hundred each second, so that pools of connections spread anew. Not those "
            "whose client spoke last, or that have something on its way. But one that is quiet inside "
            "an open transaction looks as if it were idle: it is reset, and the database rolls its "
            "work back. So only for clients that connect again by themselves and never pause inside "
            "a transaction for `rebalance_idle`, and for the policies `round_robin`, `leastconn` and "
            "`random`."),
        key<V>(
            "rebalance_idle", duration_codec({.may_be_off = false, .least = 10ms}),
            [](auto& v) -> auto& { return v.config.rebalance_idle; }, "",
            "How long nothing must have moved in a session that `rebalance` takes."),
        key<V>(
            "max_connections_per_source", count_codec(0, 100'000'000),
            [](auto& v) -> auto& { return v.config.max_connections_per_source; }, "",
            "Connections that one client may have at a time: of an IPv4 address, or of the first "
            "64 bits of an IPv6 address; further ones are reset. 0 is no limit. 65,536 clients at a "
            "time are told apart; those beyond share one client's limits with the others of their "
            "/24 or /48 (IPv6) that are beyond, and when these are too many, too, of their /16 or "
            "/32, with a warning. Clients of Unix sockets have no address, and no limit."),
        key<V>(
            "connection_rate_per_source", rate_codec(),
            [](auto& v) -> auto& { return v.config.connection_rate_per_source; }, "",
            "How often one client may connect, like `\"100/s\"`, `\"5/10s\"` or `\"1000/m\"`, all of "
            "it at once if it likes; what comes faster is reset."),
        key<V>(
            "relay",
            choice_codec<RelayMode>({{"auto", RelayMode::automatic},
                                     {"splice", RelayMode::splice},
                                     {"copy", RelayMode::copy}}),
            [](auto& v) -> auto& { return v.config.relay; }, "--relay",
            "How bytes are moved: `auto` copies small messages through a buffer and splices bulk "
            "through kernel pipes, whichever costs less; `splice` and `copy` do one of them "
            "always."),
        key<V>(
            "pipe_size", size_or_auto_codec(least_pipe_bytes, most_pipe_bytes),
            [](auto& v) -> auto& { return v.config.pipe_bytes; }, "--pipe-size",
            "Of the kernel pipes that bulk is spliced through; the kernel rounds up to a power "
            "of two. `\"auto\"` is what measured best: 256KiB. More than "
            "`fs.pipe-max-size` (1MiB) needs CAP_SYS_RESOURCE."),
        key<V>(
            "backlog", count_codec(1, 65535), [](auto& v) -> auto& { return v.config.backlog; }, "",
            "Clients that the kernel keeps for us while we do not accept. `net.core.somaxconn` "
            "limits it."),
        key<V>(
            "nodelay", boolean_codec(), [](auto& v) -> auto& { return v.config.socket.no_delay; },
            "", "Small messages are sent at once (TCP_NODELAY), to clients and to backends."),
        key<V>(
            "keepalive", keepalive_codec(),
            [](auto& v) -> auto& { return v.config.socket.keepalive; }, "",
            "When the kernel asks a silent peer whether it is still there, on both sides: first "
            "after `idle`, then every `interval`, and it gives up after `count` questions without "
            "an answer. Backends' connections get it when they are a second old."),
        key<V>(
            "source", sources_codec(), [](auto& v) -> auto& { return v.config.sources; }, "",
            "Connections to backends come from these addresses of this machine, in turn, instead "
            "of the one that the route says. Each one has some 28,000 ports for every backend. One that "
            "is not there yet is a warning at the start, and a reload without `--force` is refused."),
        key<V>(
            "interface", system_name_codec("the name of an interface", "any", 15),
            [](auto& v) -> auto& { return v.config.socket.interface; }, "",
            "Clients come, and connections to backends go, by this network interface only. If it is not "
            "there at the start, that is a warning, and listeners are opened when it comes; a reload "
            "without `--force` is refused."),
        key<V>(
            "mark", count_codec(0, UINT32_MAX),
            [](auto& v) -> auto& { return v.config.socket.mark; }, "",
            "The firewall mark of packets to clients and backends (SO_MARK); 0 is none. Takes "
            "CAP_NET_ADMIN."),
        key<V>(
            "congestion", system_name_codec("a congestion control", "default", 15),
            [](auto& v) -> auto& { return v.config.socket.congestion; }, "",
            "The TCP congestion control of both sides, like `\"bbr\"`: one of "
            "`net.ipv4.tcp_available_congestion_control`."),
        key<V>(
            "transparent", boolean_codec(),
            [](auto& v) -> auto& { return v.config.socket.transparent; }, "",
            "Connections to backends come from the client's own address, and clients may connect "
            "to addresses that are not this machine's (IP_TRANSPARENT). The routes have to bring "
            "the answers back. Takes CAP_NET_ADMIN or CAP_NET_RAW."),
        key<V>(
            "fast_open", count_codec(0, 65535), [](auto& v) -> auto& { return v.config.fast_open; },
            "",
            "Clients that may wait for us with data in their SYN (TCP Fast Open); 0 is none. "
            "`net.ipv4.tcp_fastopen` has to allow servers to."),
        key<V>(
            "defer_accept",
            duration_codec({.least = std::chrono::seconds{1}, .most = std::chrono::hours{1}}),
            [](auto& v) -> auto& { return v.config.defer_accept; }, "",
            "A client is not seen before it has sent something, or for so long "
            "(TCP_DEFER_ACCEPT). Not for databases in which the server speaks first, like MySQL."),
        key<V>(
            "unix_mode", mode_codec(), [](auto& v) -> auto& { return v.config.unix_mode; }, "",
            "Who may connect to the Unix sockets of `listen`: `\"0660\"` is their owner and its "
            "group. The default is what the umask leaves."),
        key<V>(
            "unix_owner", owner_codec(), [](auto& v) -> auto& { return v.config.unix_owner; }, "",
            "Whose the Unix sockets of `listen` are: `\"user\"`, `\"user:group\"` or "
            "`\":group\"`, names or numbers. The default is whoever runs eplb. Another user takes "
            "CAP_CHOWN."),
    };
}

KeyTable<ServiceValues> make_own_service_keys() {
    using V = ServiceValues;
    return {
        without_default(key<V>(
            "name", name_codec(), [](auto& v) -> auto& { return v.config.name; }, "",
            "For logs, and to tell at a reload which service is which: one that gets another name "
            "and keeps a listener is the same one, renamed. The default is its first listener, as "
            "written.")),
        without_default(key<V>(
            "listen", listen_codec(), [](auto& v) -> auto& { return v.listen; }, "--listen",
            "Where clients connect to: `\":5555\"` (all addresses, IPv4 and IPv6), "
            "`\"127.0.0.1:5555\"`, `\"[::1]:5555\"`, `\"host:5555\"`, `\"unix:/path\"`, "
            "`\"unix:@abstract\"`. Required.")),
    };
}

}  // namespace

const KeyTable<ServiceValues>& service_keys() {
    static const KeyTable<ServiceValues> table = make_service_keys();
    return table;
}

const KeyTable<ServiceValues>& own_service_keys() {
    static const KeyTable<ServiceValues> table = make_own_service_keys();
    return table;
}

}  // namespace eplb::control
