#pragma once

#include "discovery/answer_judge.hpp"
#include "discovery/dns_options.hpp"
#include "discovery/name_source.hpp"
#include "eplb/proxy.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eplb {
class Reactor;
}

namespace eplb::control {

/// What names stand for, by NameQuestion::key(). The addresses of hosts have no port: with which one
/// they are used is nothing that the DNS says.
using NameAnswers = std::map<std::string, NameAnswer, std::less<>>;

/// Keeps answers for a set of names up to date.
///
///     unknown   --learn()-->  asked for the first time
///     good      its TTL is over, or the floor or ceiling for it: asked again
///     failing   asked again, each time later; what a good answer said stays so
///
/// Failing is also an answer without addresses, one that cannot be used (see AnswerJudge), and that there
/// is no such name, once there was an answer: whoever empties a zone by mistake must not take a service
/// down, and if the machines are really gone, it makes no difference to clients. So a name never goes
/// from some addresses to none.
///
/// What was among the addresses of a name and is no more is remembered, as absent, until the name has
/// it again or forget_absent() is called. But if a name stood for one address and now stands for one
/// other, it has moved, and is not absent.
///
/// A few are asked for at a time, and of these at most every other one is failing: thousands of names
/// are no burst, and those that nobody answers for do not keep the others waiting.
///
/// What there is no memory for is tried again a second later; what is known stays known.
///
/// Belongs to the thread of its reactor, which outlives it. May be destroyed inside its callbacks.
class Names final : private Task {
public:
    struct Options {
        Duration min_ttl = DnsOptions{}.min_ttl;
        Duration max_ttl = DnsOptions{}.max_ttl;
        Duration timeout = DnsOptions{}.timeout;  ///< learn() is over then, whoever has answered
        double jitter = 0.1;  ///< the part of a wait that is added to it at random, at most
    };
    using Log = std::function<void(LogLevel level, std::string_view message)>;

    static constexpr Duration longest_backoff = std::chrono::seconds{30};
    /// A name without a good answer is told of again.
    static constexpr Duration reminder = std::chrono::minutes{1};
    static constexpr std::size_t most_in_flight = 64;
    /// For each name; of more, those that have been missing for longest are forgotten.
    static constexpr std::size_t most_absent = 1000;

    Names(Reactor& reactor, std::unique_ptr<NameSource> source, Options options, Log log);
    ~Names() override = default;
    Names(const Names&) = delete;
    Names& operator=(const Names&) = delete;

    /// Who judges answers from now on; before learn().
    void set_judge(std::unique_ptr<AnswerJudge> judge) noexcept { judge_ = std::move(judge); }
    /// Knows what `other` has answers for, as if it had asked itself.
    void adopt(const Names& other);
    /// Asks for those of `addresses` that it does not know; others than names are left alone. `done`
    /// comes in a later turn, when each has an answer, be it that there is none.
    void learn(const std::vector<std::string>& addresses, std::function<void()> done);
    /// From now on keeps these up to date, which have been learnt, forgets all others, and logs. Calls
    /// `on_change`, in a turn of its own, when an answer is not what it was.
    void keep(const std::vector<std::string>& addresses, std::function<void()> on_change);

    /// Whether this one, by its key, was learnt or is being learnt.
    [[nodiscard]] bool has(std::string_view key) const { return entries_.contains(key); }
    /// The last good answers, or why there is none.
    [[nodiscard]] NameAnswers answers() const;

    /// Whether some name has lost an address.
    [[nodiscard]] bool has_absent() const noexcept { return absent_ > 0; }
    /// Forgets those absent addresses for which `is_over` says so.
    void forget_absent(const std::function<bool(const NameTarget&)>& is_over);

private:
    // Those who are waiting to be asked for, by when; they point into entries_.
    using Queue = std::set<std::pair<TimePoint, std::string_view>>;
    struct Entry {
        NameQuestion question;
        NameAnswer answer;  // the last good one, if there was any
        bool known = false;
        bool asking = false;
        bool learning = false;       // learn() waits for it
        std::uint32_t failures = 0;  // in a row
        std::size_t checks = 0;      // as AnswerJudge::checks_of() says
        TimePoint due;
        TimePoint remind;        // of one without a good answer
        Queue::node_type place;  // in a queue, while it is in none
        [[nodiscard]] bool has_addresses() const noexcept {
            return answer.status == NameAnswer::Status::good;
        }
        [[nodiscard]] std::size_t descriptors() const noexcept {
            return checks * (answer.targets.size() + answer.absent.size());
        }
    };
    using Entries = std::map<std::string, Entry, std::less<>>;

    Next run() noexcept override;
    void go_on() noexcept;
    void ask_due() noexcept;
    void ask(const std::string& key, Entry& entry) noexcept;
    void wait(const std::string& key, Entry& entry);
    void stop_waiting(const std::string& key, Entry& entry) noexcept;
    [[nodiscard]] Queue& queue_of(const Entry& entry) noexcept {
        return queues_[entry.failures > 0 ? 1 : 0];
    }
    void on_answer(const std::string& key, const NameAnswer& answer) noexcept;
    void take(const std::string& key, Entry& entry, NameAnswer answer);
    [[nodiscard]] bool is_usable(const Entry& entry, NameAnswer& answer);
    [[nodiscard]] std::optional<std::string> make_room(const Entry& entry, NameAnswer& answer);
    void remember_absent(const Entry& entry, NameAnswer& answer) const;
    void set_answer(Entry& entry, NameAnswer answer);
    void learnt(Entry& entry);
    [[nodiscard]] bool may_have_been_us() noexcept;
    void end_learning();
    void tell_learnt() noexcept;
    void tell_changed() noexcept;
    void try_again() noexcept;
    void rearm() noexcept;
    [[nodiscard]] Duration with_jitter(Duration wait);
    [[nodiscard]] Duration backoff(std::uint32_t failures) const noexcept;
    void log_change(const std::string& key, const NameAnswer& before, const NameAnswer& now,
                    bool was_failing) const;
    void log_failure(const std::string& key, const Entry& entry, const std::string& problem) const;

    Reactor& reactor_;
    Options options_;
    Log log_;
    std::unique_ptr<AnswerJudge> judge_;
    Entries entries_;
    std::array<Queue, 2> queues_;             // the second one: failing
    std::array<std::size_t, 2> in_flight_{};  // likewise
    std::size_t descriptors_ = 0;             // of all entries
    std::size_t absent_ = 0;                  // addresses, of all entries
    std::size_t learning_ = 0;                // entries that learn() waits for
    TimePoint learnt_by_ = TimePoint::max();
    std::function<void()> on_learnt_;
    bool excused_ = false;  // learn() was over once, but it was we who were late
    bool learnt_told_ = false;
    std::function<void()> on_change_;
    bool keeping_ = false;
    bool change_told_ = false;
    bool change_untold_ = false;  // for lack of memory
    bool starved_ = false;        // likewise: something is to be tried again
    std::minstd_rand random_;
    Timer timer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    std::unique_ptr<NameSource> source_;  // its callbacks come here: gone before everything else
};

struct SystemNames;

/// Names that are asked for as `values` and `system` say. Throws std::runtime_error.
[[nodiscard]] std::unique_ptr<Names> make_names(Reactor& reactor, const DnsOptions& values,
                                                SystemNames system, ProxyObserver& observer);

}  // namespace eplb::control
