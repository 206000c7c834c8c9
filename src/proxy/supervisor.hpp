#pragma once

#include "eplb/backend.hpp"
#include "eplb/config.hpp"
#include "eplb/proxy.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "health/checker.hpp"
#include "proxy/service_spec.hpp"
#include "proxy/verdict_memory.hpp"

#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace eplb {

class Reactor;

/// Keeps what is known of the backends, and says so in the log, a line for each change:
///
///   checks       a backend whose checks fail is down, and up again when they pass
///   ejections    one that fails clients, several in a row, is left alone for a while, and for
///                longer each time, until it serves one
///   slow starts  one that comes back gets its share little by little
///   maintenance  what an operator wants
///   newcomers    one that comes while its service works gets no clients before its first check,
///                unless nobody else is usable; one that returns soon is what it was
///
/// A session that fails on this machine's account says nothing of its backend, nor does a check.
/// Belongs to the thread of its reactor, which outlives it.
class Supervisor final : public Task {
public:
    struct Hooks {
        /// A backend can be used again, or no longer: clients who wait have another choice.
        std::function<void()> on_change;
        /// Its checks say so; not for one that is only ejected.
        std::function<void(const ServiceBackend&)> on_down;
        std::function<void(const ServiceBackend&)> on_up;
    };

    Supervisor(Reactor& reactor, ProxyObserver& observer, Hooks hooks);
    ~Supervisor() override;

    /// All that there will be with the next supervise(), before any worker can send a client to
    /// them: says of those that are new what is known of them.
    void announce(const std::vector<ServiceBackend>& members);
    /// All that there are, from now on. Those that were there before keep their state. Who is there
    /// from the beginning, and was not announced, gets clients until its first check says otherwise.
    void supervise(const std::vector<ServiceBackend>& members);

    /// A session could not connect to it, or could after others had failed.
    void on_failure(const Backend& backend);
    void on_success(const Backend& backend);
    /// What an operator wants of it. It may be one that supervise() is still to tell of.
    void set_wanted(const ServiceBackend& member, Backend::Wanted wanted);
    Next run() override;

private:
    struct Entry {
        ServiceBackend member;
        std::size_t index = 0;        // among all
        bool down_untold = false;     // to its sessions, for lack of memory
        bool has_orders = false;      // update_check() knows what its service says
        std::uint32_t ejections = 0;  // without a success in between
        TimePoint ejected_until = TimePoint::max();
        TimePoint slow_since = TimePoint::max();
        std::unique_ptr<health::Checker> checker;
        health::Health health = health::Health::unknown;  // for the next checker to begin with
        std::string cause;                                // why it is down
    };

    [[nodiscard]] Entry* find(const Backend& backend) noexcept;
    void remember(Entry& entry);
    void recall(Entry& entry, const Verdict& verdict);
    [[nodiscard]] bool may_eject(const Entry& entry) const noexcept;
    void end_ejection(Entry& entry);
    void on_check(Entry& entry, const health::CheckResult& result) noexcept;
    static void set_cause(Entry& entry, const std::string& cause) noexcept;
    void tell_down(Entry& entry) noexcept;
    void came_back(Entry& entry);
    void update_check(Entry& entry);
    void update_slow_start(Entry& entry, TimePoint now) noexcept;
    void schedule() noexcept;
    template <class... Arguments>
    void tell(LogLevel level, const ServiceBackend& member,
              fmt::format_string<const Arguments&...> what, const Arguments&... arguments) noexcept;

    Reactor& reactor_;
    ProxyObserver& observer_;
    Hooks hooks_;
    std::vector<std::unique_ptr<Entry>> entries_;
    // Those of entries_, and those that were announced.
    std::unordered_map<const Backend*, Entry*> by_backend_;
    std::vector<std::unique_ptr<Entry>> announced_;
    VerdictMemory memory_;
    Timer timer_;
};

}  // namespace eplb
