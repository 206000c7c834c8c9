#include "run.hpp"

#include "interrupt.hpp"
#include "net.hpp"
#include "proc_stats.hpp"
#include "process.hpp"
#include "temp_dir.hpp"
#include "wire.hpp"

#include <cerrno>
#include <fmt/format.h>
#include <optional>
#include <sched.h>
#include <sstream>
#include <stdexcept>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace eplb::bench {
namespace {

using namespace std::chrono_literals;

constexpr Duration start_limit = 5s;
// Beyond warm-up and window: 40 s for opening, and for what the load does not bound itself.
constexpr Duration load_limit = 60s;
constexpr double mebi = 1024 * 1024;

TimePoint now() { return std::chrono::steady_clock::now(); }

struct Processors {
    std::optional<int> load;
    std::optional<int> proxy;
};

Processors choose_processors(bool pin) {
    cpu_set_t allowed;
    if (!pin || ::sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2)
        return {};
    Processors chosen;
    for (int cpu = 0; cpu < CPU_SETSIZE && !chosen.proxy; ++cpu) {
        if (!CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) continue;
        (chosen.load ? chosen.proxy : chosen.load) = cpu;
    }
    return chosen;
}

/// Everything that belongs to a run; the destructor stops it all.
class Run {
public:
    Run(const Design& design, const Cell& cell, const RunOptions& options)
        : design_{design},
          cell_{cell},
          options_{options},
          cpus_{choose_processors(options.pin && design.pinned)},
          counters_{::memfd_create("eplb-bench", MFD_CLOEXEC)} {
        if (!counters_.valid() || ::ftruncate(counters_.get(), sizeof(SharedCounters)) != 0)
            throw fmt::system_error(errno, "cannot make a page of shared memory");
    }

    Sample measure() {
        start_backend();
        std::vector<std::string> targets = backends_;
        if (design_.command) {
            start_proxy();
            targets = {proxy_address_};
        }
        const LoadResult result = drive(std::move(targets));
        if (proxy_ && !proxy_->running())
            throw std::runtime_error{fmt::format("the proxy ended: {}", proxy_->how_it_ended())};
        if (proxy_) after_ = use_of(family_);
        return evaluate(result);
    }
    [[nodiscard]] std::string remark() const { return tail_of(options_.directory / "proxy.err"); }

private:
    void start_backend() {
        backend_.emplace(Command{"/proc/self/exe", "--as-backend"},
                         ChildOptions{.cpu = cpus_.load, .pass = counters_.get()});
        const auto line = backend_->read_line(now() + start_limit);
        if (!line) throw std::runtime_error{"the backends did not start"};
        std::istringstream words{*line};
        for (std::string address; words >> address;) backends_.push_back(address);
    }

    // A port that was free may be taken a moment later, so more than one is tried.
    void start_proxy() {
        for (int attempt = 0; attempt < 3; ++attempt) {
            const Route route{.host = "127.0.0.1",
                              .port = find_free_port("127.0.0.1"),
                              .backends = backends_,
                              .directory = options_.directory};
            proxy_.emplace(
                design_.command(route),
                ChildOptions{.cpu = cpus_.proxy, .errors = options_.directory / "proxy.err"});
            proxy_address_ = route.listen();
            const TimePoint give_up = now() + start_limit;
            while (now() < give_up && proxy_->running() && !interrupted()) {
                if (!accepts_connections(proxy_address_)) {
                    std::this_thread::sleep_for(2ms);
                    continue;
                }
                std::this_thread::sleep_for(50ms);  // until that connection is over, too
                family_ = proxy_->family();
                before_ = use_of(family_);
                return;
            }
        }
        throw std::runtime_error{fmt::format("it did not start: {}", proxy_->how_it_ended())};
    }

    LoadResult drive(std::vector<std::string> targets) {
        const LoadSpec spec{.targets = std::move(targets),
                            .work = cell_.work,
                            .warm_up_seconds = options_.warm_up_seconds,
                            .seconds = options_.seconds * cell_.stretch,
                            .proxy = family_,
                            .backend = backend_->pid()};
        load_.emplace(Command{"/proc/self/exe", "--as-load", encode(spec)},
                      ChildOptions{.cpu = cpus_.load, .pass = counters_.get()});
        const auto window = std::chrono::duration<double>{spec.warm_up_seconds + spec.seconds};
        const auto line =
            load_->read_line(now() + load_limit + std::chrono::duration_cast<Duration>(window));
        if (!line) {
            if (load_->running()) throw std::runtime_error{"it hung, and was stopped"};
            throw std::runtime_error{
                fmt::format("the load process ended: {}", load_->how_it_ended())};
        }
        return decode_result(*line);
    }

    [[nodiscard]] Sample evaluate(const LoadResult& result) const {
        Sample sample;
        sample.errors = result.errors;
        double failures = 0;
        for (const auto& [reason, count] : result.errors) failures += static_cast<double>(count);
        sample[Metric::failures] = failures;
        sample[Metric::answered] = static_cast<double>(result.answered);
        if (proxy_) evaluate_use(sample, result);
        if (!result.stopped.empty()) {
            sample.failure = result.stopped;
            for (const auto& [reason, count] : result.errors)
                sample.failure += fmt::format("; {} {}", count, reason);
            return sample;
        }
        evaluate_window(sample, result);
        return sample;
    }

    void evaluate_use(Sample& sample, const LoadResult& result) const {
        sample[Metric::rss] = static_cast<double>(after_.rss_bytes) / mebi;
        sample[Metric::pss] = static_cast<double>(after_.pss_bytes) / mebi;
        sample[Metric::threads] = static_cast<double>(after_.threads);
        sample[Metric::descriptors] = static_cast<double>(after_.descriptors);
        const double grown =
            static_cast<double>(after_.rss_bytes) - static_cast<double>(before_.rss_bytes);
        if (result.answered > 0)
            sample[Metric::per_connection] = grown / static_cast<double>(result.answered);
    }

    void evaluate_window(Sample& sample, const LoadResult& result) const {
        const auto operations = static_cast<double>(result.operations);
        const double gigabytes = static_cast<double>(result.bytes) / 1e9;
        const Work& work = cell_.work;
        sample[Metric::load_share] = 100 * result.load_cpu_seconds / result.seconds;
        if (proxy_) sample[Metric::cpu_share] = 100 * result.proxy_cpu_seconds / result.seconds;
        if (work.ping + work.churn > 0) {
            sample[Metric::operations] = operations / result.seconds;
            if (operations == 0) {
                sample.failure = "not one operation in the window";
                return;
            }
            sample[Metric::p50] = result.p50_us;
            sample[Metric::p99] = result.p99_us;
            sample[Metric::p999] = result.p999_us;
        }
        const bool is_bulk = work.push + work.pull > 0;
        if (is_bulk) sample[Metric::gigabits] = 8 * gigabytes / result.seconds;
        if (!proxy_) return;
        if (is_bulk && gigabytes > 0)
            sample[Metric::cpu_per_gb] = result.proxy_cpu_seconds / gigabytes;
        if (!is_bulk && operations > 0)
            sample[Metric::cpu_per_op] = 1e6 * result.proxy_cpu_seconds / operations;
    }

    const Design& design_;
    const Cell& cell_;
    const RunOptions& options_;
    Processors cpus_;
    Fd counters_;
    std::optional<Child> backend_;
    std::optional<Child> proxy_;
    std::optional<Child> load_;  // stopped first
    std::vector<std::string> backends_;
    std::string proxy_address_;
    std::vector<pid_t> family_;
    ProcessUse before_;
    ProcessUse after_;
};

}  // namespace

Sample measure(const Design& design, const Cell& cell, const RunOptions& options) {
    Sample sample;
    if (design.family == Family::echo && cell.work.push + cell.work.pull > 0) {
        sample.failure = "it has no backends, which bulk goes to and comes from";
        return sample;
    }
    Run run{design, cell, options};
    try {
        sample = run.measure();
    } catch (const std::exception& error) {
        sample.failure = error.what();
    }
    if (design.command && (!sample.ok() || !sample.errors.empty())) sample.remark = run.remark();
    return sample;
}

std::string describe_pinning(bool pin) {
    const Processors chosen = choose_processors(pin);
    if (!chosen.proxy) return "nothing is pinned";
    return fmt::format("load and backends on processor {}, proxy on {}", *chosen.load,
                       *chosen.proxy);
}

}  // namespace eplb::bench
