#include "control/resolver.hpp"

#include "base/duration.hpp"
#include "base/escape.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"

#include <algorithm>
#include <ares.h>
#include <chrono>
#include <cstring>
#include <deque>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace eplb::control {
namespace {

using Status = NameAnswer::Status;
using Message = std::span<const unsigned char>;

constexpr int attempts = 3;
// The first attempt has this part of the time, and the next ones more: c-ares doubles it each time it
// has been through all servers.
constexpr int first_attempt_part = 5;
// What fits through any path in one piece, so that most answers need no TCP (DNS flag day 2020).
constexpr int udp_payload_bytes = 1232;

// RFC 1035, 4.1 and 3.2.
constexpr std::size_t header_bytes = 12;
constexpr std::size_t question_tail_bytes = 4;
constexpr std::size_t record_tail_bytes = 10;
constexpr std::size_t srv_head_bytes = 6;
constexpr std::size_t most_name_bytes = std::size_t{4} * 255;  // each of which may become \DDD
constexpr unsigned class_in = 1;
constexpr unsigned type_cname = 5;
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
    case ARES_EREFUSED: return "the name server refused to answer";
    case ARES_ENOTIMP: return "the name server does not know such questions";
    case ARES_ECONNREFUSED: return "no name server can be reached";
    case ARES_ETIMEOUT: return "no name server answers";
    default: return ares_strerror(ares_status);
    }
}

// The addresses of one host.
struct HostAnswer {
    int status = ARES_ENODATA;
    std::vector<Address> addresses;  // without ports
    Duration ttl = Duration::max();
};

void add_addresses(HostAnswer& answer, const ares_addrinfo& found) {
    for (const ares_addrinfo_cname* alias = found.cnames; alias != nullptr; alias = alias->next)
        answer.ttl = std::min(answer.ttl, ttl_of(static_cast<std::uint32_t>(alias->ttl)));
    for (const ares_addrinfo_node* node = found.nodes; node != nullptr; node = node->ai_next) {
        sockaddr_storage raw{};
        if (node->ai_addrlen > sizeof raw) continue;
        std::memcpy(&raw, node->ai_addr, node->ai_addrlen);
        answer.addresses.push_back(Address::from(raw, node->ai_addrlen));
        answer.ttl = std::min(answer.ttl, ttl_of(static_cast<std::uint32_t>(node->ai_ttl)));
    }
}

std::vector<int> families_of(NameFamily family) {
    switch (family) {
    case NameFamily::ipv4: return {AF_INET};
    case NameFamily::ipv6: return {AF_INET6};
    case NameFamily::automatic:
    case NameFamily::both: break;
    }
    return {AF_INET, AF_INET6};
}

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

}  // namespace

std::optional<ServiceRecords> parse_service_records(Message message) {
    if (message.size() < header_bytes || message.size() > 65535) return std::nullopt;
    const unsigned questions = read_16(message, 4);
    const unsigned answers = read_16(message, 6);
    std::size_t at = header_bytes;
    for (unsigned i = 0; i < questions; ++i) {
        const auto name = expand_name(message, at);
        if (!name || name->end + question_tail_bytes > message.size()) return std::nullopt;
        at = name->end + question_tail_bytes;
    }
    ServiceRecords result;
    Duration ttl = Duration::max();
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
        if (!internet || (type != type_srv && type != type_cname)) continue;
        ttl = std::min(ttl, its_ttl);
        if (type != type_srv) continue;
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
    result.ttl = ttl == Duration::max() ? Duration{0} : ttl;
    return result;
}

/// What c-ares calls back, and what runs.
///
///     ask         -> c-ares; each question is in questions_ until it is answered or its time is over
///     run         ready sockets and time limits -> c-ares -> finished_ -> done(), outside of c-ares
///     close       the owner is gone: nobody is called any more; goes at once, or when run() is over
class Resolver::Impl final : public Task {
public:
    Impl(Reactor& reactor, const DnsValues& values)
        : reactor_{reactor},
          timer_{reactor, *this},
          timeout_{values.timeout},
          families_{families_of(values.family)},
          all_families_{values.family == NameFamily::both} {
        static const int library = ares_library_init(ARES_LIB_INIT_ALL);
        check(library);
        ares_options options{};
        options.flags = ARES_FLAG_EDNS;
        options.ednspsz = udp_payload_bytes;
        options.timeout = static_cast<int>(
            std::chrono::ceil<std::chrono::milliseconds>(timeout_ / first_attempt_part).count());
        options.tries = attempts;
        options.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
            static_cast<Impl*>(self)->watch(fd, readable != 0, writable != 0);
        };
        options.sock_state_cb_data = this;
        check(ares_init_options(&channel_, &options,
                                ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS |
                                    ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB));
        const int error = set_servers(values.servers);
        if (error == ARES_SUCCESS) return;
        ares_destroy(channel_);
        check(error);
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void ask(const NameQuestion& question, Done done) {
        const std::uint64_t id = next_id_++;
        questions_.emplace(
            id, Question{question, std::move(done), reactor_.now() + timeout_, {}, {}, {}, 0});
        if (question.is_service() && is_invalid(question.name)) {
            finish(questions_.find(id), failure(ARES_ENOTFOUND));
        } else if (question.is_service()) {
            ares_query(channel_, question.name.c_str(), class_in, type_srv, on_records,
                       std::make_unique<Query>(Query{this, id, {}, {}, 0}).release());
        } else {
            look_up(id, question.name);
        }
        rearm();
    }

    void close() noexcept {
        closing_ = true;
        questions_.clear();
        if (!running_) delete this;
    }

    Next run() override {
        running_ = true;
        process();
        expire();
        // Those who are told may ask again, which may be answered at once: in the next turn.
        std::deque<Finished> batch = std::exchange(finished_, {});
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
    struct Question {
        NameQuestion question;
        Done done;
        TimePoint deadline;
        // Of a service: what the SRV answer said, and the answers for its hosts so far.
        std::vector<ServiceRecord> records;
        Duration ttl;
        std::map<std::string, HostAnswer> hosts;
        std::size_t waiting;
    };
    struct Finished {
        Done done;
        NameAnswer answer;
    };
    // What c-ares gives back to us, whatever happens: exactly once.
    struct Query {
        Impl* self;
        std::uint64_t id;
        std::string host;
        HostAnswer answer;
        std::size_t family;  // the index of the one being asked for
    };

    ~Impl() override {
        closing_ = true;
        ares_destroy(channel_);  // gives all queries back
    }

    static void check(int ares_status) {
        if (ares_status == ARES_SUCCESS) return;
        throw std::runtime_error(
            fmt::format("cannot ask for names: {}", ares_strerror(ares_status)));
    }

    int set_servers(const std::vector<Address>& servers) {
        if (servers.empty()) return ARES_SUCCESS;
        std::vector<ares_addr_port_node> nodes(servers.size());
        for (std::size_t i = 0; i < servers.size(); ++i) {
            sockaddr_storage raw{};
            static_cast<void>(servers[i].to_sockaddr(raw));
            nodes[i].next = i + 1 < nodes.size() ? &nodes[i + 1] : nullptr;
            nodes[i].family = servers[i].family();
            nodes[i].udp_port = nodes[i].tcp_port = servers[i].port();
            if (nodes[i].family == AF_INET) {
                nodes[i].addr.addr4 = reinterpret_cast<const sockaddr_in&>(raw).sin_addr;
            } else {
                std::memcpy(&nodes[i].addr.addr6,
                            &reinterpret_cast<const sockaddr_in6&>(raw).sin6_addr,
                            sizeof nodes[i].addr.addr6);
            }
        }
        return ares_set_servers_ports(channel_, nodes.data());
    }

    // c-ares says so before it closes a socket, too. Level-triggered, unlike all others: it reads one
    // piece of a TCP answer at a time, and stops at a datagram from a stranger, both without having
    // seen EAGAIN.
    void watch(int fd, bool readable, bool writable) {
        watches_.erase(fd);
        if (!readable && !writable) return;
        const std::uint32_t events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
        Watch& watch = watches_.try_emplace(fd, reactor_, *this).first->second;
        // Without it the question is not answered in time; which is then told.
        static_cast<void>(watch.attach(fd, events));
    }

    void process() {
        struct Ready {
            ares_socket_t readable;
            ares_socket_t writable;
        };
        std::vector<Ready> ready;
        for (auto& [fd, watch] : watches_) {
            const ares_socket_t readable = watch.readable() ? fd : ARES_SOCKET_BAD;
            const ares_socket_t writable = watch.writable() ? fd : ARES_SOCKET_BAD;
            watch.clear_readable();
            watch.clear_writable();
            if (readable != writable || readable != ARES_SOCKET_BAD)
                ready.push_back({readable, writable});
        }
        for (const auto& [readable, writable] : ready)
            ares_process_fd(channel_, readable, writable);
        ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // what has timed out
    }

    void expire() {
        while (!questions_.empty() && questions_.begin()->second.deadline <= reactor_.now()) {
            finish(questions_.begin(),
                   failure(fmt::format("no answer within {}", format_duration(timeout_))));
        }
    }

    // c-ares goes by CLOCK_MONOTONIC, which may be a little behind the turn's now() or before it; then
    // the timer fires again.
    void rearm() noexcept {
        if (!finished_.empty()) reactor_.schedule(*this);
        timeval wait{};
        const bool asking = ares_timeout(channel_, nullptr, &wait) != nullptr;
        timer_.cancel();
        if (questions_.empty() && !asking) return;
        TimePoint next = TimePoint::max();
        if (!questions_.empty()) next = questions_.begin()->second.deadline;
        if (asking) {
            next = std::min(next, reactor_.now() + std::chrono::seconds{wait.tv_sec} +
                                      std::chrono::microseconds{wait.tv_usec});
        }
        timer_.start_at(next);
    }

    void look_up(std::uint64_t id, const std::string& host) {
        if (host == "localhost") return on_host(questions_.find(id), host, localhost());
        if (is_invalid(host)) {
            HostAnswer answer;
            answer.status = ARES_ENOTFOUND;
            return on_host(questions_.find(id), host, std::move(answer));
        }
        look_up(std::make_unique<Query>(Query{this, id, host, {}, 0}));
    }

    // RFC 6761, 6.3: that is no question. c-ares 1.18 knows it too, but leaks when /etc/hosts has it for
    // the other kind of address.
    [[nodiscard]] HostAnswer localhost() const {
        HostAnswer answer;
        answer.status = ARES_SUCCESS;
        for (const int family : families_) {
            if (!answer.addresses.empty() && !all_families_) break;
            answer.addresses.push_back(
                Address::parse(family == AF_INET ? "127.0.0.1:0" : "[::1]:0"));
        }
        return answer;
    }

    void look_up(std::unique_ptr<Query> query) {
        ares_addrinfo_hints hints{};
        hints.ai_flags =
            ARES_AI_NOSORT;  // to sort means to open sockets, and to lose the TTLs' sense
        hints.ai_family = families_[query->family];
        hints.ai_socktype = SOCK_STREAM;
        const std::string host = query->host;
        ares_getaddrinfo(channel_, host.c_str(), nullptr, &hints, on_addresses, query.release());
    }

    static void on_addresses(void* argument, int status, int, ares_addrinfo* found) {
        std::unique_ptr<Query> query{static_cast<Query*>(argument)};
        if (found != nullptr) add_addresses(query->answer, *found);
        ares_freeaddrinfo(found);
        Impl& self = *query->self;
        if (!self.closing_) self.on_addresses(std::move(query), status);
    }

    void on_addresses(std::unique_ptr<Query> query, int status) {
        const auto question = questions_.find(query->id);
        if (question == questions_.end()) return;  // too late
        HostAnswer& answer = query->answer;
        const bool first = query->family == 0;
        // A name is missing only if it is missing for both kinds: one may be in /etc/hosts.
        if (first || status_of(status) != Status::no_such_name) answer.status = status;
        if (status_of(status) != Status::unanswered && !answer.addresses.empty())
            answer.status = ARES_SUCCESS;
        if (answer.status == ARES_SUCCESS && answer.addresses.empty()) answer.status = ARES_ENODATA;
        // A name with both kinds is one set of machines: using both would connect to each twice.
        const bool enough = !answer.addresses.empty() && !all_families_;
        ++query->family;
        if (status_of(status) != Status::unanswered && !enough && query->family < families_.size())
            return look_up(std::move(query));
        on_host(question, query->host, std::move(answer));
    }

    using Entry = std::map<std::uint64_t, Question>::iterator;

    void on_host(Entry entry, const std::string& host, HostAnswer answer) {
        Question& question = entry->second;
        question.hosts[host] = std::move(answer);
        if (!question.question.is_service()) return finish_host(entry);
        if (--question.waiting == 0) finish_service(entry);
    }

    static void on_records(void* argument, int status, int, unsigned char* message, int length) {
        const std::unique_ptr<Query> query{static_cast<Query*>(argument)};
        Impl& self = *query->self;
        if (self.closing_) return;
        const auto question = self.questions_.find(query->id);
        if (question == self.questions_.end()) return;
        if (status != ARES_SUCCESS) return self.finish(question, failure(status));
        self.on_records(question, Message{message, static_cast<std::size_t>(length)});
    }

    void on_records(Entry entry, Message message) {
        const auto found = parse_service_records(message);
        if (!found) return finish(entry, failure("the answer makes no sense"));
        if (found->records.empty()) return finish(entry, failure(ARES_ENODATA));
        if (found->records.size() > most_targets) return finish(entry, too_many());
        Question& question = entry->second;
        question.records = found->records;
        question.ttl = found->ttl;
        for (const ServiceRecord& record : question.records) question.hosts[record.host];
        question.waiting = question.hosts.size();
        // Answers may come at once, and the last of them ends the question.
        std::vector<std::string> hosts;
        hosts.reserve(question.hosts.size());
        for (const auto& [host, answer] : question.hosts) hosts.push_back(host);
        const std::uint64_t id = entry->first;
        for (const std::string& host : hosts) look_up(id, host);
    }

    void finish_host(Entry entry) {
        const Question& question = entry->second;
        const HostAnswer& host = question.hosts.begin()->second;
        if (host.status != ARES_SUCCESS) return finish(entry, failure(host.status));
        NameAnswer answer;
        answer.status = Status::good;
        answer.ttl = host.ttl;
        for (const Address& address : host.addresses) {
            answer.targets.push_back(
                {address.with_port(question.question.port), 0, 0, question.question.name});
        }
        finish(entry, std::move(answer));
    }

    void finish_service(Entry entry) {
        const Question& question = entry->second;
        NameAnswer answer;
        answer.ttl = question.ttl;
        for (const ServiceRecord& record : question.records) {
            const HostAnswer& host = question.hosts.at(record.host);
            if (status_of(host.status) == Status::unanswered) {
                answer.unanswered.push_back(record);
                answer.problem =
                    fmt::format("{}: {}", escaped(record.host), problem_of(host.status));
            }
            if (host.status != ARES_SUCCESS || answer.targets.size() > most_targets) continue;
            answer.ttl = std::min(answer.ttl, host.ttl);
            for (const Address& address : host.addresses) {
                answer.targets.push_back(
                    {address.with_port(record.port), record.priority, record.weight, record.host});
            }
        }
        if (!answer.targets.empty()) {
            answer.status = Status::good;
        } else if (answer.unanswered.empty()) {
            answer.status = Status::no_data;
            answer.problem = "none of its hosts has an address";
        }
        finish(entry, std::move(answer));
    }

    static NameAnswer too_many() {
        return failure(fmt::format("the answer has more than {} addresses", most_targets));
    }

    void finish(Entry entry, NameAnswer answer) {
        if (answer.targets.size() > most_targets) answer = too_many();
        arrange(answer.targets);
        finished_.push_back({std::move(entry->second.done), std::move(answer)});
        questions_.erase(entry);
        reactor_.schedule(*this);
    }

    Reactor& reactor_;
    Timer timer_;
    Duration timeout_;
    std::vector<int> families_;
    bool all_families_;
    ares_channel channel_ = nullptr;
    std::map<int, Watch> watches_;
    std::map<std::uint64_t, Question> questions_;  // in the order of their deadlines
    std::deque<Finished> finished_;
    std::uint64_t next_id_ = 0;
    bool running_ = false;
    bool closing_ = false;
};

Resolver::Resolver(Reactor& reactor, const DnsValues& values) : impl_{new Impl{reactor, values}} {}

Resolver::~Resolver() { impl_->close(); }

void Resolver::ask(const NameQuestion& question, Done done) {
    impl_->ask(question, std::move(done));
}

}  // namespace eplb::control
