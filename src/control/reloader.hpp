#pragma once

#include "config/config_file.hpp"
#include "control/kernel_check.hpp"
#include "control/later.hpp"
#include "control/reload_plan.hpp"
#include "discovery/background.hpp"
#include "discovery/names.hpp"
#include "eplb/proxy.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace eplb {
class Reactor;
}

namespace eplb::control {

/// A log that is open, or being opened, and not written to yet.
struct NewLog {
    std::function<void()> go_over;  ///< from now on it is; cannot fail
    std::string problem;            ///< what is to be known: it may not be what was asked for
};

/// Reads the configuration anew while the proxy runs, says what that would change, and goes over to
/// it. What cannot be used changes nothing, and what served before goes on serving. For what there is no
/// memory for, that is so, too: the request has failed, or, if there is not even memory to say so, its
/// `done` is destroyed without having been called.
///
/// All that takes time in proportion to the configuration is done on a thread of its own: reading,
/// checking, looking up the names of listeners, comparing, preparing, and freeing what there was. On the
/// reactor's thread, one request after the other, the names of backends that are not known yet are asked
/// for, and what was prepared is gone over to. When a name stands for something else, that is gone over
/// to likewise, in its turn. Belongs to that thread; proxy, reactor and observer outlive it.
class Reloader {
public:
    struct Request {
        bool dry_run = false;  ///< only say what would change
        /// Even if a service is left without backends, or an interface or address is not there now.
        bool force = false;
        bool strict = false;  ///< warnings are errors
        /// Another file than the one that the process was started with; for a dry run.
        std::optional<std::filesystem::path> file;
    };
    struct Outcome {
        enum class Kind : std::uint8_t {
            unchanged,  ///< the configuration says what is so already
            changed,    ///< or would be, in a dry run
            /// A service would have no backend, a name that is new is not there, or the kernel refuses
            /// something.
            refused,
            invalid,  ///< the configuration cannot be used
            failed,   ///< it could not be gone over to
        };
        Kind kind = Kind::failed;
        /// What was wrong, or warned of, and the plan; with line feeds.
        std::string report;
    };
    using Done = std::function<void(const Outcome&)>;

    struct Hooks {
        /// The log may have other values, and is to be opened anew. Called on the thread that reads, and
        /// may take its time. May throw: then nothing is changed.
        std::function<NewLog(const LogValues&)> prepare_log;
    };

    /// `names`: what `running` was made with.
    Reloader(Reactor& reactor, Proxy& proxy, ProxyObserver& observer, ConfigSource source,
             ResolvedSettings running, std::unique_ptr<Names> names, Hooks hooks);
    /// Waits for the thread, if it is at work.
    ~Reloader() = default;
    Reloader(const Reloader&) = delete;
    Reloader& operator=(const Reloader&) = delete;

    /// `done` is called in a later turn; what it is told is also logged, unless it was a dry run.
    void request(Request request, Done done = {});
    /// Refuses what has not begun, and whatever is asked for from now on: the process is stopping.
    void stop() noexcept;

    /// Whether its thread is at work, which the destructor would wait for.
    [[nodiscard]] bool is_reading() const noexcept { return working_; }

    [[nodiscard]] const ResolvedSettings& running() const noexcept { return *running_; }

private:
    struct Loaded;
    struct Pending {
        Request request;
        Done done;
        bool names_only = false;  // nothing is read: names have changed
    };

    template <class... Arguments>
    void tell(LogLevel level, fmt::format_string<const Arguments&...> what,
              const Arguments&... arguments) const noexcept;
    void refuse(Done done) noexcept;
    void begin_next() noexcept;
    template <class Step>
    void attempt(Step step) noexcept;
    void read_file();
    void prepare_log(Loaded& loaded) const;
    void on_loaded(Loaded& loaded);
    void on_learnt(Loaded& loaded);
    void on_drafted(Loaded& loaded);
    void go_over(Loaded& loaded);
    void on_gone_over() noexcept;
    void keep(Names& names, const std::vector<std::string>& addresses);
    void sweep_later() noexcept;
    void sweep() noexcept;
    [[nodiscard]] bool is_settled() const noexcept;
    void find_busy();
    void tell_readiness(const Loaded& loaded) const;
    void on_names_changed() noexcept;
    void go_over_to_names() noexcept;
    void draft_names();
    void on_names_drafted(Loaded& loaded);
    void end_names(const std::string& problem) noexcept;
    void post_when_possible(const std::function<void()>& fn);
    void work(std::function<void(Loaded&)> what, void (Reloader::*then)(Loaded&));
    void free_leftovers() noexcept;
    void end_turn() noexcept;
    void finish(Outcome outcome, const std::vector<std::string>& troubles = {}) noexcept;
    void log(const Outcome& outcome) const noexcept;

    Reactor& reactor_;
    Proxy& proxy_;
    ProxyObserver& observer_;
    ConfigSource source_;
    std::shared_ptr<const ResolvedSettings> running_;
    std::vector<std::string> running_names_;                // of its backends
    const std::size_t workers_ = running_->config.workers;  // which do not change
    Hooks hooks_;
    std::deque<Pending> pending_;  // the first one is being worked on, if busy_
    bool busy_ = false;
    bool stopped_ = false;
    std::uint64_t changes_ = 0;  // that were begun
    std::unique_ptr<Names> names_;
    std::shared_ptr<const OwnListeners> own_listeners_;
    std::unique_ptr<Names> candidate_;  // of the configuration that is being judged
    std::shared_ptr<Loaded> current_;   // what is being worked on; the other thread's, if working_
    std::vector<std::shared_ptr<const void>> leftovers_;  // to be freed by the other thread
    bool working_ = false;
    Later names_again_;
    Later sweep_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    Background background_;  // its jobs use the rest
};

}  // namespace eplb::control
