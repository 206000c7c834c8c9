#pragma once

#include "control/name_source.hpp"
#include "control/settings.hpp"
#include "eplb/proxy.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace eplb {
class Reactor;
}

namespace eplb::control {

/// What names stand for, by the text of the address that has them: "db.example:3306".
using NameAnswers = std::map<std::string, NameAnswer, std::less<>>;

/// Keeps answers for a set of names up to date.
///
///     unknown   --learn()-->  asked for the first time
///     good      its TTL is over, or the floor or ceiling for it: asked again
///     failing   asked again, each time later; what a good answer said stays so
///
/// Failing is also an answer without addresses, and that there is no such name, once there was an
/// answer: whoever empties a zone by mistake must not take a service down, and if the machines are
/// really gone, it makes no difference to clients. So a name never goes from some addresses to none.
///
/// Belongs to the thread of its reactor, which outlives it. May be destroyed inside its callbacks.
class Names final : private Task {
public:
    struct Options {
        Duration min_ttl = DnsValues{}.min_ttl;
        Duration max_ttl = DnsValues{}.max_ttl;
        double jitter = 0.1;  ///< the part of a wait that is added to it at random, at most
    };
    using Log = std::function<void(LogLevel level, std::string_view message)>;

    static constexpr Duration longest_backoff = std::chrono::seconds{30};

    Names(Reactor& reactor, std::unique_ptr<NameSource> source, Options options, Log log);
    ~Names() override = default;
    Names(const Names&) = delete;
    Names& operator=(const Names&) = delete;

    /// Knows what `other` has answers for, as if it had asked itself.
    void adopt(const Names& other);
    /// Asks for those of `addresses` that it does not know; others than names are left alone. `done`
    /// comes in a later turn, when each has an answer, be it that there is none.
    void learn(const std::vector<std::string>& addresses, std::function<void()> done);
    /// From now on keeps these up to date, which have been learnt, forgets all others, and logs. Calls
    /// `on_change`, in a turn of its own, when an answer is not what it was.
    void keep(const std::vector<std::string>& addresses, std::function<void()> on_change);

    /// The last good answers, or why there is none.
    [[nodiscard]] NameAnswers answers() const;

private:
    struct Entry {
        NameQuestion question;
        NameAnswer answer;  // the last good one, if there was any
        bool known = false;
        bool asking = false;
        std::uint32_t failures = 0;  // in a row
        TimePoint due;
    };

    Next run() override;
    void ask(const std::string& address, Entry& entry);
    void on_answer(const std::string& address, NameAnswer answer);
    void take(const std::string& address, Entry& entry, NameAnswer answer);
    void tell_learnt();
    void tell_changed();
    void rearm() noexcept;
    [[nodiscard]] Duration with_jitter(Duration wait);
    [[nodiscard]] Duration backoff(std::uint32_t failures) const noexcept;
    void log_change(const std::string& address, const NameAnswer& before, const NameAnswer& now,
                    bool was_failing) const;
    void log_failure(const std::string& address, const Entry& entry,
                     const std::string& problem) const;

    Reactor& reactor_;
    Options options_;
    Log log_;
    std::map<std::string, Entry, std::less<>> entries_;
    std::vector<std::string> learning_;
    std::function<void()> on_learnt_;
    std::function<void()> on_change_;
    bool keeping_ = false;
    bool change_told_ = false;
    std::minstd_rand random_;
    Timer timer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    std::unique_ptr<NameSource> source_;  // its callbacks come here: gone before everything else
};

/// Names that are asked for as `values` says. Throws std::runtime_error.
[[nodiscard]] std::unique_ptr<Names> make_names(Reactor& reactor, const DnsValues& values,
                                                ProxyObserver& observer);

}  // namespace eplb::control
