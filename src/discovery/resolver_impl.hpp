#pragma once

// What the files resolver_*.cpp share; for nobody else.

#include "discovery/ares_channel.hpp"
#include "discovery/dns_message.hpp"
#include "discovery/dns_status.hpp"
#include "discovery/resolver.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace eplb::control {

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
    Impl(Reactor& reactor, const DnsOptions& values, SystemNames system);
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void ask(const NameQuestion& question, Done done);
    void close() noexcept;
    Next run() noexcept override;
    void retire() noexcept override { delete this; }

private:
    using Status = NameAnswer::Status;
    using Message = std::span<const unsigned char>;

    // The addresses of one host.
    struct HostAnswer {
        int status = ARES_ENODATA;
        std::vector<Address> addresses;  // without ports
        Duration ttl = Duration::max();
        std::vector<int> unanswered;  // families that could not be asked for, beside the addresses
        int unanswered_status = ARES_ETIMEOUT;
    };
    struct Server {
        std::array<std::unique_ptr<AresChannel>, 2> channels;  // without and with EDNS
        bool plain = false;                                    // it does not answer with EDNS
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
        TimePoint next = TimePoint::max();     // when the next server is asked
        std::vector<AresChannel*> asked = {};  // of which an answer is awaited: one for each query
    };
    // What c-ares gives back to us, whatever happens: exactly once.
    struct Query {
        Impl* self;
        AresChannel* channel;
        std::uint64_t lookup;
        std::size_t server;
        bool edns;
    };
    struct Socket {
        Socket(AresChannel& owner, Reactor& reactor, Task& task) noexcept
            : channel{&owner}, watch{reactor, task} {}
        AresChannel* channel;
        Watch watch;
    };
    using Entry = std::map<std::uint64_t, Question>::iterator;

    ~Impl() override;

    // --- resolver_sockets.cpp: sockets and time

    void watch(AresChannel& channel, int fd, bool readable, bool writable) noexcept;
    void go_on();
    bool process();
    void expire(TimePoint due);
    bool may_have_been_us(Question& question);
    void rearm() noexcept;

    // --- resolver_lookups.cpp: one name, one type

    void look_up(Entry question, std::string name, unsigned type,
                 std::function<void(int status, Message message)> done);
    void attempt_due(TimePoint due);
    void start_waiting();
    void cancel_unawaited();

    using LookupEntry = std::map<std::uint64_t, Lookup>::iterator;

    void attempt(LookupEntry entry);
    void query(LookupEntry entry, std::size_t server, bool edns);
    static void on_reply(void* argument, int status, int, unsigned char* message, int length);
    void on_reply(LookupEntry entry, const Query& query, int status, Message message);
    void finish(LookupEntry entry, int status, Message message);
    void forget(LookupEntry entry) noexcept;
    void starve(std::uint64_t id) noexcept;
    void drop(Entry question) noexcept;

    // --- resolver_questions.cpp: what to look up for a question

    void begin_waiting() noexcept;
    void begin(std::uint64_t id);
    [[nodiscard]] std::vector<std::string> names_of(const std::string& name) const;
    void look_for_service(Entry entry);
    void on_service(Entry entry, int status, Message message);
    void on_records(Entry entry, const ServiceRecords& found);
    void look_for(Entry entry, const std::string& name, std::vector<std::string> names);
    [[nodiscard]] std::vector<Address> known_addresses(const std::string& name) const;
    void ask_for_addresses(Entry entry, const std::string& name);
    void on_addresses(Entry entry, const std::string& name, int family, int status,
                      Message message);
    void finish_host(Entry entry, Host& host, int status);

    // --- resolver_answers.cpp: what is told

    void finish_late(Entry entry);
    void finish(Entry entry);
    void finish_service(Entry entry);
    static void add(NameAnswer& answer, const HostAnswer& host, const ServiceRecord& record,
                    const std::string& prefix);
    static NameAnswer too_many();
    void finish(Entry entry, NameAnswer answer);

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

}  // namespace eplb::control
