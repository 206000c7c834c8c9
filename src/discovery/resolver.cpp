#include "discovery/resolver.hpp"

#include "base/duration.hpp"
#include "base/escape.hpp"
#include "base/saturating.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"

#include <algorithm>
#include <ares.h>
#include <array>
#include <chrono>
#include <climits>
#include <cstring>
#include <deque>
#include <fmt/format.h>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <netinet/in.h>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace eplb::control {
namespace {

using Status = NameAnswer::Status;
using Message = std::span<const unsigned char>;

// How often all servers are asked.
constexpr unsigned rounds = 3;
// The first attempt has this part of the time, and those of each further round twice as much as those of
// the one before.
constexpr int first_attempt_part = 5;
// It knows only CLOCK_MONOTONIC, and gives up what has taken too long before it has read everything that
// came meanwhile. So that is left to us, and it forgets so much later what nobody waits for.
constexpr Duration time_to_forget = std::chrono::minutes{1};
// A turn does not take so long: we were stopped.
constexpr Duration tolerated_lateness = std::chrono::milliseconds{100};
// Turns in a row in which something is read, before time goes on: an answer may come in many pieces, and
// a flood of datagrams is no answer.
constexpr int most_reads = 256;
// What there is no memory for is tried again.
constexpr Duration patience = std::chrono::milliseconds{100};
// What fits through any path in one piece, so that most answers need no TCP (DNS flag day 2020).
constexpr int udp_payload_bytes = 1232;
constexpr std::string_view localhost = "localhost";
// A look at the file of hosts may take so long; then what was known of it counts.
constexpr Duration longest_look = std::chrono::milliseconds{500};

// RFC 1035, 4.1 and 3.2.
constexpr std::size_t header_bytes = 12;
constexpr std::size_t question_tail_bytes = 4;
constexpr std::size_t record_tail_bytes = 10;
constexpr std::size_t srv_head_bytes = 6;
constexpr std::size_t most_name_bytes = std::size_t{4} * 255;  // each of which may become \DDD
constexpr unsigned class_in = 1;
constexpr unsigned type_a = 1;
constexpr unsigned type_cname = 5;
constexpr unsigned type_aaaa = 28;
constexpr unsigned type_srv = 33;

unsigned read_16(Message message, std::size_t at) {
    return static_cast<unsigned>(message[at] << 8 | message[at + 1]);
}

std::uint32_t read_32(Message message, std::size_t at) {
    return read_16(message, at) << 16 | read_16(message, at + 2);
}

struct ExpandedName {
    std::string text;
    std::size_t end;  // behind it
};

// c-ares follows compression, bounded, and writes what is not printable as \DDD; but it does not limit
// the length of a name.
std::optional<ExpandedName> expand_name(Message message, std::size_t at) {
    if (at >= message.size()) return std::nullopt;
    char* text = nullptr;
    long length = 0;
    if (ares_expand_name(message.data() + at, message.data(), static_cast<int>(message.size()),
                         &text, &length) != ARES_SUCCESS)
        return std::nullopt;
    ExpandedName name{text, at + static_cast<std::size_t>(length)};
    ares_free_string(text);
    if (name.text.size() > most_name_bytes) return std::nullopt;
    return name;
}

// More than 2^31 is to be taken for zero, RFC 2181, 8.
Duration ttl_of(std::uint32_t seconds) {
    return std::chrono::seconds{seconds > INT32_MAX ? 0 : seconds};
}

Status status_of(int ares_status) noexcept {
    switch (ares_status) {
    case ARES_SUCCESS: return Status::good;
    case ARES_ENOTFOUND:
    case ARES_EBADNAME: return Status::no_such_name;
    case ARES_ENODATA: return Status::no_data;
    default: return Status::unanswered;
    }
}

std::string problem_of(int ares_status) {
    switch (ares_status) {
    case ARES_SUCCESS: return {};
    case ARES_ENOTFOUND: return "there is no such name";
    case ARES_EBADNAME: return "that is no name";
    case ARES_ENODATA: return "it has no address";
    case ARES_ESERVFAIL: return "the name server failed (SERVFAIL)";
    case ARES_EREFUSED: return "the name server refused to answer (REFUSED)";
    case ARES_ENOTIMP: return "the name server does not know such questions (NOTIMP)";
    case ARES_EFORMERR: return "the name server does not understand the question (FORMERR)";
    case ARES_ECONNREFUSED: return "no name server can be reached";
    case ARES_ETIMEOUT: return "no name server answers";
    case ARES_EBADRESP: return "the answer makes no sense";
    case ARES_ENOMEM: return "not enough memory to ask";
    // None that it is known to tell: its own words are not for users.
    default: return fmt::format("it could not be asked for (error {} of c-ares)", ares_status);
    }
}

// The addresses of one host.
struct HostAnswer {
    int status = ARES_ENODATA;
    std::vector<Address> addresses;  // without ports
    Duration ttl = Duration::max();
    std::vector<int> unanswered;  // families that could not be asked for, beside the addresses
    int unanswered_status = ARES_ETIMEOUT;
};

std::vector<int> families_of(NameFamily family) {
    switch (family) {
    case NameFamily::ipv4: return {AF_INET};
    case NameFamily::ipv6: return {AF_INET6};
    case NameFamily::automatic:
    case NameFamily::both: break;
    }
    return {AF_INET, AF_INET6};
}

unsigned type_of(int family) noexcept { return family == AF_INET ? type_a : type_aaaa; }

// RFC 6761, 6.4: there is nothing in "invalid", and nobody needs to be asked.
bool is_invalid(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    return name == "invalid" || name.ends_with(".invalid");
}

NameAnswer failure(int ares_status) {
    NameAnswer answer;
    answer.status = status_of(ares_status);
    answer.problem = problem_of(ares_status);
    return answer;
}

NameAnswer failure(std::string problem) {
    NameAnswer answer;
    answer.problem = std::move(problem);
    return answer;
}

struct Record {
    unsigned type;
    std::size_t data;  // where it begins
    std::size_t end;
};

struct Records {
    std::vector<Record> records;  // of the type that was asked for
    Duration ttl = Duration::max();
};

// The answer section. Aliases lead from one name to the next; whose the records are that come of it is
// not looked at, for whoever can answer can say what they like.
std::optional<Records> parse_records(Message message, unsigned wanted) {
    if (message.size() < header_bytes || message.size() > 65535) return std::nullopt;
    const unsigned questions = read_16(message, 4);
    const unsigned answers = read_16(message, 6);
    std::size_t at = header_bytes;
    for (unsigned i = 0; i < questions; ++i) {
        const auto name = expand_name(message, at);
        if (!name || name->end + question_tail_bytes > message.size()) return std::nullopt;
        at = name->end + question_tail_bytes;
    }
    Records found;
    for (unsigned i = 0; i < answers; ++i) {
        const auto owner = expand_name(message, at);
        if (!owner || owner->end + record_tail_bytes > message.size()) return std::nullopt;
        const unsigned type = read_16(message, owner->end);
        const bool internet = read_16(message, owner->end + 2) == class_in;
        const Duration its_ttl = ttl_of(read_32(message, owner->end + 4));
        const std::size_t data = owner->end + record_tail_bytes;
        const std::size_t end = data + read_16(message, owner->end + 8);
        if (end > message.size()) return std::nullopt;
        at = end;
        if (!internet || (type != wanted && type != type_cname)) continue;
        found.ttl = std::min(found.ttl, its_ttl);
        if (type == wanted) found.records.push_back({type, data, end});
    }
    if (found.ttl == Duration::max()) found.ttl = Duration{0};
    return found;
}

}  // namespace

std::optional<ServiceRecords> parse_service_records(Message message) {
    const auto found = parse_records(message, type_srv);
    if (!found) return std::nullopt;
    ServiceRecords result;
    result.ttl = found->ttl;
    for (const auto& [type, data, end] : found->records) {
        if (data + srv_head_bytes >= end) return std::nullopt;
        const auto target = expand_name(message, data + srv_head_bytes);
        if (!target || target->end != end) return std::nullopt;
        if (target->text.empty()) continue;
        result.records.push_back(
            {.host = target->text,
             .port = static_cast<std::uint16_t>(read_16(message, data + 4)),
             .priority = static_cast<std::uint16_t>(read_16(message, data)),
             .weight = static_cast<std::uint16_t>(read_16(message, data + 2))});
    }
    return result;
}

std::optional<AddressRecords> parse_address_records(Message message, int family) {
    const auto found = parse_records(message, type_of(family));
    if (!found) return std::nullopt;
    AddressRecords result;
    result.ttl = found->ttl;
    for (const auto& [type, data, end] : found->records) {
        sockaddr_storage raw{};
        socklen_t length = 0;
        if (family == AF_INET) {
            auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
            if (end - data != sizeof v4.sin_addr) return std::nullopt;
            std::memcpy(&v4.sin_addr, message.data() + data, sizeof v4.sin_addr);
            v4.sin_family = AF_INET;
            length = sizeof v4;
        } else {
            auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
            if (end - data != sizeof v6.sin6_addr) return std::nullopt;
            std::memcpy(&v6.sin6_addr, message.data() + data, sizeof v6.sin6_addr);
            v6.sin6_family = AF_INET6;
            length = sizeof v6;
        }
        result.addresses.push_back(Address::from(raw, length));
    }
    return result;
}

namespace {

void check(int ares_status) {
    if (ares_status == ARES_SUCCESS) return;
    if (ares_status == ARES_ENOMEM) throw std::bad_alloc{};
    throw std::runtime_error(fmt::format("cannot ask for names: error {} of c-ares", ares_status));
}

void init_library() {
    static const int status = ares_library_init(ARES_LIB_INIT_ALL);
    check(status);
}

std::vector<Address> servers_of(ares_channel channel) {
    ares_addr_port_node* first = nullptr;
    check(ares_get_servers_ports(channel, &first));
    std::vector<Address> servers;
    for (const ares_addr_port_node* node = first; node != nullptr; node = node->next) {
        static constexpr std::uint16_t domain = 53;
        sockaddr_storage raw{};
        socklen_t length = 0;
        if (node->family == AF_INET) {
            auto& v4 = reinterpret_cast<sockaddr_in&>(raw);
            v4.sin_family = AF_INET;
            v4.sin_addr = node->addr.addr4;
            length = sizeof v4;
        } else {
            auto& v6 = reinterpret_cast<sockaddr_in6&>(raw);
            v6.sin6_family = AF_INET6;
            std::memcpy(&v6.sin6_addr, &node->addr.addr6, sizeof v6.sin6_addr);
            length = sizeof v6;
        }
        const auto port = static_cast<std::uint16_t>(node->udp_port != 0 ? node->udp_port : domain);
        servers.push_back(Address::from(raw, length).with_port(port));
    }
    ares_free_data(first);
    return servers;
}

// A channel of c-ares, which asks one server. It reads no file: whatever it could find in one is said
// here. (But for /dev/urandom.)
class Channel {
public:
    /// A socket that is to be watched from now on; or, neither of both, no longer.
    using OnSocket = std::function<void(Channel& channel, int fd, bool readable, bool writable)>;

    Channel(const Address& server, bool edns, Duration timeout, OnSocket on_socket)
        : on_socket_{std::move(on_socket)} {
        ares_options options{};
        // We look at what is wrong with an answer ourselves; and who is asked for what.
        options.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH |
                        (edns ? ARES_FLAG_EDNS : 0);
        options.ednspsz = udp_payload_bytes;
        const auto milliseconds =
            std::chrono::ceil<std::chrono::milliseconds>(saturating_add(timeout, time_to_forget));
        options.timeout =
            static_cast<int>(std::min<std::int64_t>(milliseconds.count(), INT_MAX / 2));
        options.tries = 1;
        options.ndots = 1;
        in_addr replaced{};
        options.servers = &replaced;
        options.nservers = 1;
        std::array<char, 2> lookups{"b"};
        options.lookups = lookups.data();
        options.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
            auto& channel = *static_cast<Channel*>(self);
            channel.on_socket_(channel, fd, readable != 0, writable != 0);
        };
        options.sock_state_cb_data = this;
        check(ares_init_options(&channel_, &options,
                                ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS |
                                    ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS |
                                    ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST |
                                    ARES_OPT_SOCK_STATE_CB));
        const int error = set_server(server);
        if (error == ARES_SUCCESS) return;
        ares_destroy(channel_);
        check(error);
    }
    /// Gives all queries back.
    ~Channel() { ares_destroy(channel_); }
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    [[nodiscard]] ares_channel get() const noexcept { return channel_; }

    // Queries that are on their way, and those of them whose answer somebody still waits for.
    std::size_t queries = 0;
    std::size_t awaited = 0;

private:
    int set_server(const Address& server) {
        sockaddr_storage raw{};
        static_cast<void>(server.to_sockaddr(raw));
        ares_addr_port_node node{};
        node.family = server.family();
        node.udp_port = node.tcp_port = server.port();
        if (node.family == AF_INET) {
            node.addr.addr4 = reinterpret_cast<const sockaddr_in&>(raw).sin_addr;
        } else {
            std::memcpy(&node.addr.addr6, &reinterpret_cast<const sockaddr_in6&>(raw).sin6_addr,
                        sizeof node.addr.addr6);
        }
        return ares_set_servers_ports(channel_, &node);
    }

    OnSocket on_socket_;
    ares_channel channel_ = nullptr;
};

}  // namespace

SystemNames SystemNames::read() {
    init_library();
    ares_channel channel = nullptr;
    check(ares_init(&channel));
    const std::unique_ptr<ares_channeldata, void (*)(ares_channel)> release{channel, ares_destroy};
    SystemNames system;
    system.servers = servers_of(channel);
    ares_options options{};
    int mask = 0;
    const int status = ares_save_options(channel, &options, &mask);
    if (status == ARES_SUCCESS) {
        system.ndots = static_cast<std::size_t>(std::max(options.ndots, 0));
        for (int i = 0; i < options.ndomains; ++i) system.search.emplace_back(options.domains[i]);
        if (options.lookups != nullptr)
            system.use_hosts = std::strchr(options.lookups, 'f') != nullptr;
    }
    ares_destroy_options(&options);
    check(status);
    if (system.use_hosts)
        system.hosts = std::make_shared<const Hosts>(Hosts::read(system.hosts_path));
    return system;
}

/// What c-ares calls back, and what runs.
///
///     Question    what somebody wants to know: the addresses of one host, or those of a service
///     Host        whose addresses a question needs; in one domain after the other
///     Lookup      one name and one type: waits for its turn, then asks one server after the other, in
///                 up to three rounds, each longer than the one before. What comes late still counts
///     Query       one of these attempts, with c-ares
///
/// Each ends when those behind it have, and a question when its time is over, with what there is by then.
/// Whoever asked is told outside of c-ares, in run(). After close() the owner is gone: nobody is called
/// any more; it goes at once, or when run() is over.
class Resolver::Impl final : public Task {
public:
    Impl(Reactor& reactor, const DnsOptions& values, SystemNames system)
        : reactor_{reactor},
          timer_{reactor, *this},
          timeout_{values.timeout},
          families_{families_of(values.family)},
          all_families_{values.family == NameFamily::both},
          search_{std::move(system.search)},
          ndots_{system.ndots},
          use_hosts_{system.use_hosts},
          hosts_{reactor, std::move(system.hosts_path), std::move(system.hosts)} {
        init_library();
        const std::vector<Address>& addresses =
            values.servers.empty() ? system.servers : values.servers;
        if (addresses.empty()) throw std::runtime_error("cannot ask for names: no name server");
        for (const Address& address : addresses) {
            Server& server = servers_.emplace_back();
            for (const bool edns : {false, true}) {
                server.channels[edns ? 1 : 0] = std::make_unique<Channel>(
                    address, edns, timeout_,
                    [this](Channel& channel, int fd, bool readable, bool writable) {
                        watch(channel, fd, readable, writable);
                    });
            }
        }
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void ask(const NameQuestion& question, Done done) {
        const std::uint64_t id = next_id_++;
        try {
            Question& mine = questions_[id];
            mine.question = question;
            mine.done = std::move(done);
            mine.deadline = reactor_.now() + timeout_;
            if (use_hosts_ && !hosts_.is_fresh() && hosts_.look([this] { begin_waiting(); })) {
                waiting_for_hosts_.push_back(id);
                look_until_ = std::min(look_until_, reactor_.now() + longest_look);
            } else {
                begin(id);
            }
        } catch (const std::bad_alloc&) {
            drop(questions_.find(id));
            throw;
        }
        rearm();
    }

    void close() noexcept {
        closing_ = true;
        questions_.clear();
        if (!running_) delete this;
    }

    Next run() noexcept override {
        running_ = true;
        // Not the time that it is now: what had come by then has been noted, and maybe no more.
        if (timer_.take_fired()) due_ = armed_for_;
        try {
            go_on();
        } catch (const std::bad_alloc&) {
            starved_ = true;
        }
        // Those who are told may ask again, which may be answered at once: in the next turn.
        std::list<Finished> batch;
        batch.splice(batch.end(), finished_);
        while (!batch.empty() && !closing_) {
            const Finished finished = std::move(batch.front());
            batch.pop_front();
            finished.done(finished.answer);
        }
        running_ = false;
        if (closing_) return Next::done;
        rearm();
        return Next::wait;
    }

    void retire() noexcept override { delete this; }

private:
    struct Server {
        std::array<std::unique_ptr<Channel>, 2> channels;  // without and with EDNS
        bool plain = false;                                // it does not answer with EDNS
        bool answers_edns = false;
    };
    struct Host {
        std::vector<std::string> names;  // to look for, one after the other
        std::size_t name = 0;            // the one that is being looked for
        std::size_t family = 0;          // the next one to ask for
        std::size_t pending = 0;         // lookups
        bool over = false;
        bool no_data = false;                     // some name is there, but has no address
        std::vector<std::pair<int, int>> failed;  // families that could not be asked for; and why
        HostAnswer answer;
    };
    struct Question {
        NameQuestion question;
        Done done;
        TimePoint deadline;
        bool starved = false;  // what came for it could not be kept: it fails
        bool excused = false;  // its time was over once, but it was we who were late
        std::map<std::string, Host> hosts;
        std::set<std::uint64_t> lookups;
        // Of a service:
        std::vector<std::string> names;  // to look for, one after the other
        std::size_t name = 0;
        bool no_data = false;
        std::vector<ServiceRecord> records;
        Duration ttl{0};
        std::size_t waiting = 0;  // for hosts
    };
    struct Finished {
        Done done;
        NameAnswer answer;
    };
    struct Lookup {
        std::uint64_t question;
        std::string name;
        unsigned type;
        // Empty message: there is none. Destroys the lookup's place in lookups_ before.
        std::function<void(int status, Message message)> done;
        std::vector<bool> failed = {};  // servers that need not be asked again
        std::size_t server = 0;         // the next one
        unsigned round = 0;
        int status = ARES_ETIMEOUT;  // what is known to be wrong
        bool active = false;
        TimePoint next = TimePoint::max();  // when the next server is asked
        std::vector<Channel*> asked = {};   // of which an answer is awaited: one for each query
    };
    // What c-ares gives back to us, whatever happens: exactly once.
    struct Query {
        Impl* self;
        Channel* channel;
        std::uint64_t lookup;
        std::size_t server;
        bool edns;
    };
    struct Socket {
        Socket(Channel& owner, Reactor& reactor, Task& task) noexcept
            : channel{&owner}, watch{reactor, task} {}
        Channel* channel;
        Watch watch;
    };
    using Entry = std::map<std::uint64_t, Question>::iterator;

    ~Impl() override {
        closing_ = true;
        servers_.clear();
    }

    // --- sockets and time

    // c-ares says so before it closes a socket, too. Level-triggered, unlike all others: it reads one
    // piece of a TCP answer at a time, and stops at a datagram from a stranger, both without having
    // seen EAGAIN.
    void watch(Channel& channel, int fd, bool readable, bool writable) noexcept {
        sockets_.erase(fd);
        if (!readable && !writable) return;
        const std::uint32_t events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
        // Without it the question is not answered in time; which is then told.
        try {
            const auto added = sockets_.try_emplace(fd, channel, reactor_, *this).first;
            static_cast<void>(added->second.watch.attach(fd, events));
        } catch (const std::bad_alloc&) {
            return;
        }
    }

    // Late is not dead: while something comes, it is read, and time stands still. An answer may have
    // several pieces, of which c-ares reads one at a time, and other answers may lie behind it.
    void go_on() {
        if (process() && ++reads_in_a_row_ < most_reads) {
            reactor_.schedule(*this);
        } else {
            reads_in_a_row_ = 0;
            for (Server& server : servers_) {
                for (const auto& channel : server.channels)
                    ares_process_fd(channel->get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
            }
            const TimePoint due = std::exchange(due_, TimePoint::min());
            if (look_until_ <= due) begin_waiting();
            expire(due);
            attempt_due(due);
        }
        start_waiting();
        cancel_unawaited();
    }

    // Whether anything had come. A channel is told only of its own sockets: of whatever it is told, it
    // gives up what has taken too long.
    bool process() {
        struct Ready {
            Channel* channel;
            ares_socket_t readable;
            ares_socket_t writable;
        };
        std::vector<Ready> ready;
        ready.reserve(sockets_.size());
        bool some_readable = false;
        for (auto& [fd, socket] : sockets_) {
            const ares_socket_t readable = socket.watch.readable() ? fd : ARES_SOCKET_BAD;
            const ares_socket_t writable = socket.watch.writable() ? fd : ARES_SOCKET_BAD;
            socket.watch.clear_readable();
            socket.watch.clear_writable();
            some_readable = some_readable || readable == fd;
            if (readable != writable || readable != ARES_SOCKET_BAD)
                ready.push_back({socket.channel, readable, writable});
        }
        // Some may be closed and opened anew meanwhile, by another channel; then there is nothing to
        // read for this one.
        for (const auto& [channel, readable, writable] : ready)
            ares_process_fd(channel->get(), readable, writable);
        return some_readable;
    }

    void expire(TimePoint due) {
        for (auto next = questions_.begin(); next != questions_.end();) {
            const auto current = next++;
            if (current->second.deadline <= due && !may_have_been_us(current->second))
                finish_late(current);
        }
    }

    // Whoever was stopped for a while cannot tell how long a server took, and has not asked what comes
    // next. So there is the same time once more, and whoever was silent is asked again. Once, or a
    // machine that is always late would never be answered.
    bool may_have_been_us(Question& question) {
        if (reactor_.now() - question.deadline < tolerated_lateness ||
            std::exchange(question.excused, true))
            return false;
        question.deadline = reactor_.now() + timeout_;
        for (const std::uint64_t id : question.lookups) {
            Lookup& lookup = lookups_.at(id);
            if (!lookup.active) continue;
            lookup.round = 0;
            lookup.next = reactor_.now();
        }
        return true;
    }

    // c-ares goes by CLOCK_MONOTONIC, which may be a little behind the turn's now() or before it; then
    // the timer fires again.
    void rearm() noexcept {
        if (!finished_.empty()) reactor_.schedule(*this);
        timer_.cancel();
        TimePoint next = look_until_;
        for (const auto& [id, question] : questions_) next = std::min(next, question.deadline);
        for (const std::uint64_t id : active_) next = std::min(next, lookups_.at(id).next);
        for (const Server& server : servers_) {
            for (const auto& channel : server.channels) {
                timeval wait{};
                if (ares_timeout(channel->get(), nullptr, &wait) == nullptr) continue;
                next = std::min(next, reactor_.now() + std::chrono::seconds{wait.tv_sec} +
                                          std::chrono::microseconds{wait.tv_usec});
            }
        }
        if (std::exchange(starved_, false)) next = reactor_.now() + patience;
        armed_for_ = next;
        if (next != TimePoint::max()) timer_.start_at(next);
    }

    // --- one name, one type

    void look_up(Entry question, std::string name, unsigned type,
                 std::function<void(int status, Message message)> done) {
        const std::uint64_t id = next_lookup_++;
        Lookup lookup{.question = question->first,
                      .name = std::move(name),
                      .type = type,
                      .done = std::move(done)};
        lookup.failed.resize(servers_.size());
        waiting_.push_back(id);  // one that there is not is passed over
        const auto added = lookups_.emplace(id, std::move(lookup)).first;
        try {
            question->second.lookups.insert(id);
        } catch (const std::bad_alloc&) {
            lookups_.erase(added);
            throw;
        }
        // At once, if there is room; but not within whoever asks, for this may be over at once.
        reactor_.schedule(*this);
    }

    void attempt_due(TimePoint due) {
        for (const std::uint64_t id : std::vector<std::uint64_t>{active_.begin(), active_.end()}) {
            const auto found = lookups_.find(id);
            if (found != lookups_.end() && found->second.next <= due) attempt(found);
        }
    }

    void start_waiting() {
        while (active_.size() < most_in_flight && !waiting_.empty()) {
            const auto found = lookups_.find(waiting_.front());
            if (found != lookups_.end()) active_.insert(found->first);
            waiting_.pop_front();
            if (found == lookups_.end()) continue;
            found->second.active = true;
            attempt(found);
        }
    }

    // What nobody waits for any more would keep sockets open, and would be remembered for nothing.
    void cancel_unawaited() {
        for (Server& server : servers_) {
            for (const auto& channel : server.channels) {
                if (channel->queries > 0 && channel->awaited == 0) ares_cancel(channel->get());
            }
        }
    }

    using LookupEntry = std::map<std::uint64_t, Lookup>::iterator;

    // The next server that may still help.
    void attempt(LookupEntry entry) {
        Lookup& lookup = entry->second;
        if (std::ranges::find(lookup.failed, false) == lookup.failed.end())
            return finish(entry, lookup.status, {});
        do {
            if (lookup.server == servers_.size()) {
                lookup.server = 0;
                ++lookup.round;
            }
        } while (lookup.failed[lookup.server++]);
        if (lookup.round >= rounds) {
            lookup.next = TimePoint::max();  // what is on its way may still come
            return;
        }
        const std::size_t server = lookup.server - 1;
        lookup.next = reactor_.now() + timeout_ / first_attempt_part * (1 << lookup.round);
        query(entry, server, lookup.round == 0 && !servers_[server].plain);
    }

    void query(LookupEntry entry, std::size_t server, bool edns) {
        Lookup& lookup = entry->second;
        const std::string name = lookup.name;
        Channel& channel = *servers_[server].channels[edns ? 1 : 0];
        auto query = std::make_unique<Query>(Query{this, &channel, entry->first, server, edns});
        lookup.asked.push_back(&channel);
        ++channel.queries;
        ++channel.awaited;
        // Which may be over at once, and the lookup with it.
        ares_query(channel.get(), name.c_str(), class_in, static_cast<int>(lookup.type), on_reply,
                   query.release());
    }

    static void on_reply(void* argument, int status, int, unsigned char* message, int length) {
        const std::unique_ptr<Query> query{static_cast<Query*>(argument)};
        Impl& self = *query->self;
        if (self.closing_) return;
        --query->channel->queries;
        const auto found = self.lookups_.find(query->lookup);
        if (found == self.lookups_.end()) return;  // too late
        const std::uint64_t question = found->second.question;
        std::vector<Channel*>& asked = found->second.asked;
        asked.erase(std::ranges::find(asked, query->channel));
        --query->channel->awaited;
        const bool has_message = status == ARES_SUCCESS && message != nullptr && length > 0;
        try {
            self.on_reply(
                found, *query, status,
                has_message ? Message{message, static_cast<std::size_t>(length)} : Message{});
        } catch (const std::bad_alloc&) {
            self.starve(question);  // c-ares is no way for an exception
        }
    }

    void on_reply(LookupEntry entry, const Query& query, int status, Message message) {
        Lookup& lookup = entry->second;
        Server& server = servers_[query.server];
        switch (status) {
        case ARES_SUCCESS:
        case ARES_ENOTFOUND:
        case ARES_ENODATA:
        case ARES_EBADNAME:
            if (query.edns) server.answers_edns = true;
            // It was silent with it, and is not without.
            if (!query.edns && !server.answers_edns) server.plain = true;
            return finish(entry, status, message);
        case ARES_ETIMEOUT: return;  // the next one has been asked long ago
        case ARES_EFORMERR:
        case ARES_ENOTIMP:
        case ARES_ESERVFAIL:
            // RFC 6891, 7: a server that does not know EDNS says so. Some fail.
            if (query.edns && !server.answers_edns) {
                if (status != ARES_ESERVFAIL) server.plain = true;
                return this->query(entry, query.server, false);
            }
            break;
        default: break;
        }
        lookup.failed[query.server] = true;
        const bool told = status != ARES_ECONNREFUSED;
        if (told || lookup.status == ARES_ETIMEOUT) lookup.status = status;
        // In a turn of its own: this may be within ares_query().
        lookup.next = reactor_.now();
        reactor_.schedule(*this);
    }

    void finish(LookupEntry entry, int status, Message message) {
        const auto done = std::move(entry->second.done);
        const auto question = questions_.find(entry->second.question);
        forget(entry);
        if (question == questions_.end() || question->second.starved) return;
        done(status, message);
        if (!waiting_.empty()) reactor_.schedule(*this);
    }

    void forget(LookupEntry entry) noexcept {
        const auto question = questions_.find(entry->second.question);
        if (question != questions_.end()) question->second.lookups.erase(entry->first);
        active_.erase(entry->first);
        for (Channel* const channel : entry->second.asked) --channel->awaited;
        lookups_.erase(entry);
    }

    // Half of what has come for it is lost. It ends outside of whatever goes on.
    void starve(std::uint64_t id) noexcept {
        const auto question = questions_.find(id);
        if (question == questions_.end()) return;
        question->second.starved = true;
        question->second.deadline = reactor_.now();
        reactor_.schedule(*this);
    }

    void drop(Entry question) noexcept {
        if (question == questions_.end()) return;
        while (!question->second.lookups.empty())
            forget(lookups_.find(*question->second.lookups.begin()));
        questions_.erase(question);
    }

    // --- names

    void begin_waiting() noexcept {
        look_until_ = TimePoint::max();
        const std::vector<std::uint64_t> waiting = std::exchange(waiting_for_hosts_, {});
        for (const std::uint64_t id : waiting) {
            try {
                if (questions_.contains(id)) begin(id);
            } catch (const std::bad_alloc&) {
                starve(id);
            }
        }
        reactor_.schedule(*this);
    }

    void begin(std::uint64_t id) {
        const auto entry = questions_.find(id);
        Question& question = entry->second;
        if (!question.question.is_service()) {
            question.waiting = 1;
            return look_for(entry, question.question.name, names_of(question.question.name));
        }
        if (is_invalid(question.question.name)) return finish(entry, failure(ARES_ENOTFOUND));
        question.names = names_of(question.question.name);
        look_for_service(entry);
    }

    // As it is, and in the domains of the search list; resolv.conf(5).
    [[nodiscard]] std::vector<std::string> names_of(const std::string& name) const {
        if (name.ends_with('.') || search_.empty()) return {name};
        std::vector<std::string> names;
        for (const std::string& domain : search_) {
            const bool root = domain == ".";
            names.push_back(root ? name + "." : name + "." + domain);
        }
        const auto dots = static_cast<std::size_t>(std::ranges::count(name, '.'));
        names.insert(dots >= ndots_ ? names.begin() : names.end(), name);
        return names;
    }

    void look_for_service(Entry entry) {
        const std::uint64_t id = entry->first;
        const Question& question = entry->second;
        look_up(entry, question.names[question.name], type_srv,
                [this, id](int status, Message message) {
                    on_service(questions_.find(id), status, message);
                });
    }

    void on_service(Entry entry, int status, Message message) {
        Question& question = entry->second;
        if (status_of(status) == Status::unanswered) return finish(entry, failure(status));
        if (status == ARES_SUCCESS) {
            const auto found = parse_service_records(message);
            if (!found) return finish(entry, failure("the answer makes no sense"));
            if (!found->records.empty()) return on_records(entry, *found);
            status = ARES_ENODATA;
        }
        question.no_data = question.no_data || status == ARES_ENODATA;
        if (++question.name < question.names.size()) return look_for_service(entry);
        finish(entry, failure(question.no_data ? ARES_ENODATA : status));
    }

    void on_records(Entry entry, const ServiceRecords& found) {
        if (found.records.size() > most_targets) return finish(entry, too_many());
        Question& question = entry->second;
        question.records = found.records;
        question.ttl = found.ttl;
        std::set<std::string> hosts;
        for (const ServiceRecord& record : question.records) hosts.insert(record.host);
        question.waiting = hosts.size();
        // Answers may come at once, and the last of them ends the question.
        const std::uint64_t id = entry->first;
        for (const std::string& host : hosts) {
            const auto still = questions_.find(id);
            if (still == questions_.end()) return;
            look_for(still, host, {host});
        }
    }

    // Its addresses; in hosts(5) first.
    void look_for(Entry entry, const std::string& name, std::vector<std::string> names) {
        Host& host = entry->second.hosts[name];
        host.names = std::move(names);
        host.answer.addresses = known_addresses(name);
        if (!host.answer.addresses.empty()) {
            // What is in a file may change at any time.
            if (name != localhost) host.answer.ttl = Duration{0};
            return finish_host(entry, host, ARES_SUCCESS);
        }
        if (is_invalid(name)) return finish_host(entry, host, ARES_ENOTFOUND);
        ask_for_addresses(entry, name);
    }

    // RFC 6761, 6.3: localhost is no question.
    [[nodiscard]] std::vector<Address> known_addresses(const std::string& name) const {
        std::vector<Address> all;
        if (name == localhost) {
            all = {Address::parse("127.0.0.1:0"), Address::parse("[::1]:0")};
        } else if (use_hosts_) {
            all = hosts_.known().find(name);
        }
        std::vector<Address> wanted;
        for (const int family : families_) {
            if (!wanted.empty() && !all_families_) break;
            std::ranges::copy_if(all, std::back_inserter(wanted), [&](const Address& address) {
                return address.family() == family;
            });
        }
        return wanted;
    }

    // A name with both kinds is mostly one set of machines, and using both would connect to each twice:
    // so one kind is asked for after the other, and what is not needed is not asked for. If both count,
    // they are asked for together.
    void ask_for_addresses(Entry entry, const std::string& name) {
        const std::uint64_t id = entry->first;
        Host& host = entry->second.hosts.at(name);
        do {
            const int family = families_[host.family++];
            ++host.pending;
            look_up(entry, host.names[host.name], type_of(family),
                    [this, id, name, family](int status, Message message) {
                        on_addresses(questions_.find(id), name, family, status, message);
                    });
        } while (all_families_ && host.family < families_.size());
    }

    void on_addresses(Entry entry, const std::string& name, int family, int status,
                      Message message) {
        Host& host = entry->second.hosts.at(name);
        --host.pending;
        if (status == ARES_SUCCESS) {
            const auto found = parse_address_records(message, family);
            if (!found) {
                status = ARES_EBADRESP;
            } else if (found->addresses.empty()) {
                status = ARES_ENODATA;
            } else {
                host.answer.ttl = std::min(host.answer.ttl, found->ttl);
                host.answer.addresses.insert(host.answer.addresses.end(), found->addresses.begin(),
                                             found->addresses.end());
            }
        }
        host.no_data = host.no_data || status == ARES_ENODATA;
        if (status_of(status) == Status::unanswered) host.failed.emplace_back(family, status);
        if (host.pending > 0) return;
        const bool enough = !host.answer.addresses.empty();
        if (!enough && host.failed.empty()) {
            // A name is missing only if it is missing for both kinds: some servers say so for one.
            if (host.family < families_.size()) return ask_for_addresses(entry, name);
            if (++host.name < host.names.size()) {
                host.family = 0;
                return ask_for_addresses(entry, name);
            }
        }
        finish_host(entry, host, status);
    }

    void finish_host(Entry entry, Host& host, int status) {
        HostAnswer& answer = host.answer;
        if (!answer.addresses.empty()) {
            answer.status = ARES_SUCCESS;
            for (const auto& [family, why] : host.failed) {
                answer.unanswered.push_back(family);
                answer.unanswered_status = why;
            }
        } else if (!host.failed.empty()) {
            answer.status = host.failed.front().second;
        } else {
            answer.status = host.no_data ? ARES_ENODATA : status;
        }
        host.over = true;
        if (--entry->second.waiting == 0) finish(entry);
    }

    // --- answers

    // Its time is over: what has not been answered is told, and why, as far as that is known.
    void finish_late(Entry entry) {
        Question& question = entry->second;
        if (question.starved) return finish(entry, failure(ARES_ENOMEM));
        int reason = ARES_ETIMEOUT;
        for (const std::uint64_t id : question.lookups) {
            const auto lookup = lookups_.find(id);
            if (lookup->second.status != ARES_ETIMEOUT) reason = lookup->second.status;
        }
        const std::string problem =
            reason == ARES_ETIMEOUT ? fmt::format("no answer within {}", format_duration(timeout_))
                                    : problem_of(reason);
        bool some = false;
        for (auto& [name, host] : question.hosts) {
            if (!host.over && all_families_ && !host.answer.addresses.empty()) {
                // One kind has been answered.
                host.answer.status = ARES_SUCCESS;
                for (const int family : families_) {
                    const bool has = std::ranges::any_of(
                        host.answer.addresses,
                        [&](const Address& address) { return address.family() == family; });
                    if (!has) host.answer.unanswered.push_back(family);
                }
                host.answer.unanswered_status = reason;
            } else if (!host.over) {
                host.answer.status = reason;
            }
            some = some || host.answer.status == ARES_SUCCESS;
        }
        if (!some) {
            NameAnswer answer = failure(problem);
            for (const ServiceRecord& record : question.records) {
                answer.unanswered.push_back(
                    {record.host, record.port, record.priority, record.weight, 0});
            }
            return finish(entry, std::move(answer));
        }
        finish(entry);
    }

    void finish(Entry entry) {
        if (entry->second.question.is_service()) return finish_service(entry);
        const Question& question = entry->second;
        const HostAnswer& host = question.hosts.begin()->second.answer;
        if (host.status != ARES_SUCCESS) return finish(entry, failure(host.status));
        NameAnswer answer;
        add(answer, host,
            {.host = question.question.name,
             .port = question.question.port,
             .priority = 0,
             .weight = 0},
            "");
        answer.ttl = host.ttl;
        finish(entry, std::move(answer));
    }

    void finish_service(Entry entry) {
        const Question& question = entry->second;
        NameAnswer answer;
        answer.ttl = question.ttl;
        for (const ServiceRecord& record : question.records) {
            const HostAnswer& host = question.hosts.at(record.host).answer;
            const std::string prefix = fmt::format("{}: ", escaped(record.host));
            if (status_of(host.status) == Status::unanswered) {
                answer.unanswered.push_back(
                    {record.host, record.port, record.priority, record.weight, 0});
                answer.problem = prefix + problem_of(host.status);
            }
            if (host.status != ARES_SUCCESS || answer.targets.size() > most_targets) continue;
            answer.ttl = std::min(answer.ttl, host.ttl);
            add(answer, host, record, prefix);
        }
        if (answer.targets.empty() && answer.unanswered.empty()) {
            answer.status = Status::no_data;
            answer.problem = "none of its hosts has an address";
        }
        finish(entry, std::move(answer));
    }

    static void add(NameAnswer& answer, const HostAnswer& host, const ServiceRecord& record,
                    const std::string& prefix) {
        answer.status = Status::good;
        for (const Address& address : host.addresses) {
            answer.targets.push_back(
                {address.with_port(record.port), record.priority, record.weight, record.host});
        }
        for (const int family : host.unanswered) {
            answer.unanswered.push_back(
                {record.host, record.port, record.priority, record.weight, family});
            answer.problem =
                fmt::format("{}{} addresses: {}", prefix, family == AF_INET ? "IPv4" : "IPv6",
                            problem_of(host.unanswered_status));
        }
    }

    static NameAnswer too_many() {
        return failure(fmt::format("the answer has more than {} addresses", most_targets));
    }

    void finish(Entry entry, NameAnswer answer) {
        if (answer.targets.size() > most_targets) answer = too_many();
        arrange(answer.targets);
        Finished& finished = finished_.emplace_back();
        finished.done = std::move(entry->second.done);
        finished.answer = std::move(answer);
        drop(entry);
        reactor_.schedule(*this);
    }

    Reactor& reactor_;
    Timer timer_;
    Duration timeout_;
    std::vector<int> families_;
    bool all_families_;
    std::vector<std::string> search_;
    std::size_t ndots_;
    bool use_hosts_;
    HostsFile hosts_;
    std::map<int, Socket> sockets_;
    std::vector<Server> servers_;
    std::map<std::uint64_t, Question> questions_;
    std::vector<std::uint64_t> waiting_for_hosts_;
    TimePoint look_until_ = TimePoint::max();
    std::map<std::uint64_t, Lookup> lookups_;
    std::deque<std::uint64_t> waiting_;  // lookups whose turn has not come
    std::set<std::uint64_t> active_;     // those whose has
    std::list<Finished> finished_;
    TimePoint armed_for_ = TimePoint::max();
    TimePoint due_ = TimePoint::min();  // what the timer fired for, and has not been done yet
    int reads_in_a_row_ = 0;
    bool starved_ = false;  // something is to be tried again
    std::uint64_t next_id_ = 0;
    std::uint64_t next_lookup_ = 0;
    bool running_ = false;
    bool closing_ = false;
};

Resolver::Resolver(Reactor& reactor, const DnsOptions& values, SystemNames system)
    : impl_{new Impl{reactor, values, std::move(system)}} {}

Resolver::~Resolver() { impl_->close(); }

void Resolver::ask(const NameQuestion& question, Done done) {
    impl_->ask(question, std::move(done));
}

}  // namespace eplb::control
