#include "health/checker.hpp"

#include "base/connect_error.hpp"
#include "base/duration.hpp"
#include "base/random_word.hpp"
#include "base/saturating.hpp"
#include "base/shortage.hpp"
#include "base/sys.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fmt/format.h>
#include <new>
#include <span>
#include <system_error>
#include <tuple>
#include <utility>

namespace eplb::health {
namespace {

using Outcome = CheckResult::Outcome;

// What a server may send behind its answer, like the body of a page, before we stop being polite.
constexpr std::size_t farewell_bytes = std::size_t{64} * 1024;
constexpr Duration shortest_interval = std::chrono::milliseconds{1};
// Of our own, behind the end of a check; a turn does not take so long.
constexpr Duration tolerated_lateness = std::chrono::milliseconds{100};

// Short enough for a string to need none.
constexpr const char* out_of_memory = "out of memory";

std::string text_of(int error) { return std::generic_category().message(error); }

// What is asked, without when and how often.
auto question(const CheckConfig& config) {
    return std::tie(config.type, config.address, config.port, config.send, config.expect,
                    config.user, config.database, config.password, config.path, config.host,
                    config.statuses);
}

}  // namespace

Checker::Checker(Reactor& reactor, Options options, OnResult on_result)
    : reactor_{reactor},
      backend_{std::move(options.backend)},
      config_{std::move(options.config)},
      route_{std::move(options.route)},
      on_result_{std::move(on_result)},
      state_{config_.rise, config_.fall},
      random_{options.seed},
      watch_{reactor, *this},
      timer_{reactor, *this} {
    if (config_.type == CheckConfig::Type::none) return;
    state_.assume(options.health);
    timer_.start(options.offset);
}

Checker::~Checker() {
    if (destroyed_ != nullptr) *destroyed_ = true;
    reset();
}

void Checker::set_config(CheckConfig config) {
    const bool same_question = question(config) == question(config_);
    const Duration old_interval = config_.interval;
    state_.set_limits(config.rise, config.fall);
    if (same_question) {
        config_ = std::move(config);
        if (config_.type != CheckConfig::Type::none && phase_ == Phase::idle &&
            config_.interval != old_interval && timer_.armed() && next_start_ != TimePoint{}) {
            next_start_ = saturating_add(started_, next_interval());
            timer_.start_at(next_start_);
        }
        return;
    }
    reset();
    result_.reset();
    probe_.reset();  // it looks at config_
    timer_.cancel();
    phase_ = Phase::idle;
    config_ = std::move(config);
    state_.forget_streak();
    due_ = config_.type != CheckConfig::Type::none;
    if (due_) return reactor_.schedule(*this);
    state_.reset();
}

void Checker::check_now() noexcept {
    if (config_.type == CheckConfig::Type::none) return;
    if (phase_ == Phase::connecting || phase_ == Phase::talking) return;
    due_ = true;
    reactor_.schedule(*this);
}

// A check for which there is no memory has found nothing, and is made again at its time.
Next Checker::run() noexcept {
    try {
        step();
    } catch (const std::bad_alloc&) {
        conclude(Outcome::local_error, out_of_memory, Ending::reset);
    }
    return result_ ? Next::done : Next::wait;
}

void Checker::step() {
    switch (phase_) {
    case Phase::idle:
        if (timer_.take_fired() || due_) begin();
        break;
    case Phase::connecting: check_connection(); break;
    case Phase::talking: talk(); break;
    case Phase::leaving: leave(); break;
    }
}

void Checker::retire() noexcept {
    if (!result_) return;  // a change of the configuration took it back
    const CheckResult result = std::move(*result_);
    result_.reset();
    // Whoever destroys the checker in this call must not destroy what is being called.
    OnResult on_result = std::exchange(on_result_, {});
    bool destroyed = false;
    destroyed_ = &destroyed;
    if (on_result) on_result(result);
    if (destroyed) return;
    destroyed_ = nullptr;
    on_result_ = std::move(on_result);
    reactor_.schedule(*this);  // a farewell, or what was asked for in the call
}

void Checker::begin() {
    due_ = false;
    started_ = reactor_.now();
    target_ = config_.target(backend_);
    probe_ = make_probe(config_, target_);
    outgoing_.clear();
    received_.clear();
    received_bytes_ = 0;
    has_sent_ = has_finished_ = excused_ = false;
    send_error_ = 0;
    timer_.start(config_.timeout);
    phase_ = Phase::connecting;

    dial();
}

void Checker::dial() {
    const Address* const source =
        target_.is_unix() ? nullptr : source_turn_.next(route_.sources, target_.family());
    const Dialled dialled =
        eplb::dial({.to = target_, .options = route_.socket, .source = source}, fd_, watch_);
    backlog_is_full_ = dialled.backlog_is_full(target_);
    if (backlog_is_full_) return wait_for_backlog();
    if (dialled.error == EINPROGRESS) return;
    if (dialled.error == 0) return connected();
    broken(failure_of(dialled));
}

// It is busy, as a TCP server is that lets a SYN go unanswered; and like that one it has the timeout.
void Checker::wait_for_backlog() {
    close();
    const Duration waited = reactor_.now() - started_;
    if (waited >= config_.timeout) return time_out();
    timer_.start(time_to_next_dial(waited, config_.timeout));
}

void Checker::check_connection() {
    if (backlog_is_full_) {
        if (timer_.take_fired()) dial();
        return;
    }
    // Who has answered did so in time, even if it is we who are late to look.
    if (!watch_.writable()) {
        if (timer_.take_fired()) time_out();
        return;
    }
    int error = take_connect_error(watch_);
    if (error == 0) error = refuse_connection_to_itself(fd_, target_);
    if (error == 0) return connected();
    broken(failure_of({.error = error}));
}

void Checker::connected() {
    phase_ = Phase::talking;
    if (target_.is_unix()) timer_.start_at(saturating_add(started_, config_.timeout));
    if (route_.preamble) {
        sockaddr_storage raw{};
        socklen_t length = sizeof raw;
        if (const int error = sys::local_address(fd_.get(), raw, length))
            return broken({error, "getsockname"});
        outgoing_ = route_.preamble(Address::from(raw, length), target_);
        has_sent_ = !outgoing_.empty();
    }
    if (!apply(probe_->begin())) talk();
}

void Checker::talk() {
    for (;;) {
        flush();
        if (!watch_.readable()) break;
        if (read_answer()) return;
    }
    if (timer_.take_fired()) time_out();
}

// A server that takes nothing more may have said why.
void Checker::flush() noexcept {
    while (!outgoing_.empty()) {
        const sys::IoResult sent = sys::send(fd_.get(), std::as_bytes(std::span{outgoing_}));
        if (sent.status == sys::Io::would_block) return watch_.clear_writable();
        if (sent.status != sys::Io::moved) {
            send_error_ = sent.error;
            outgoing_.clear();
            return watch_.assume_readable();
        }
        outgoing_.erase(0, sent.bytes);
    }
}

// Whether the check is over.
bool Checker::read_answer() {
    std::array<char, max_probe_bytes> buffer;
    const std::size_t room = max_probe_bytes - received_bytes_;
    const sys::IoResult got =
        sys::recv(fd_.get(), std::as_writable_bytes(std::span{buffer}.first(room)));
    switch (got.status) {
    case sys::Io::moved: break;
    case sys::Io::would_block:
        watch_.clear_readable();
        if (send_error_ == 0) return false;
        broken({send_error_, "send", is_shortage(send_error_)});
        return true;
    case sys::Io::error: broken({got.error, "receive", is_shortage(got.error)}); return true;
    case sys::Io::eof:
        close();
        conclude(Outcome::failed,
                 fmt::format("closed by the server while waiting for {}", probe_->awaited()),
                 Ending::reset);
        return true;
    }
    received_.append(buffer.data(), got.bytes);
    received_bytes_ += got.bytes;
    if (advance()) return true;
    if (received_bytes_ < max_probe_bytes) return false;
    conclude(Outcome::failed,
             fmt::format("{} bytes without {}", max_probe_bytes, probe_->awaited()), Ending::reset);
    return true;
}

// Whether the check is over.
bool Checker::advance() {
    while (!received_.empty()) {
        ProbeStep step = probe_->read(received_);
        const std::size_t consumed = step.consumed;
        received_.erase(0, consumed);
        if (apply(std::move(step))) return true;
        if (consumed == 0) return false;
    }
    return false;
}

// Whether the check is over.
bool Checker::apply(ProbeStep step) {
    outgoing_ += step.send;
    has_sent_ = has_sent_ || !outgoing_.empty();
    if (step.verdict == ProbeStep::Verdict::undecided) return false;
    // A reset overtakes what the server has not read.
    if (step.ending == Ending::reset && has_sent_ && received_bytes_ == 0)
        step.ending = Ending::finish;
    const bool good = step.verdict == ProbeStep::Verdict::passed;
    conclude(good ? Outcome::passed : Outcome::failed, std::move(step.cause), step.ending);
    return true;
}

Checker::Failure Checker::failure_of(const Dialled& dialled) const noexcept {
    switch (dialled.step) {
    case Dialled::Step::socket: return {dialled.error, "socket"};
    case Dialled::Step::option: return {dialled.error, dialled.option};
    case Dialled::Step::watch: return {dialled.error, "epoll"};
    case Dialled::Step::connect: break;
    }
    return {dialled.error, "connect", !is_peers_fault(dialled.error, target_.is_unix())};
}

void Checker::broken(const Failure& failure) {
    std::string cause = fmt::format("{}: {}", failure.what, text_of(failure.error));
    if (phase_ == Phase::talking) cause += fmt::format(" while waiting for {}", probe_->awaited());
    conclude(failure.local ? Outcome::local_error : Outcome::failed, std::move(cause),
             Ending::reset);
}

// Whoever was stopped for a while cannot tell how long the server took: what it is told of now may be
// the first of several answers. Once, or a machine that is always late would call nobody down.
bool Checker::may_have_been_us() noexcept {
    const Duration over = reactor_.now() - saturating_add(started_, config_.timeout);
    if (over < tolerated_lateness || std::exchange(excused_, true)) return false;
    timer_.start(config_.timeout);
    return true;
}

void Checker::time_out() {
    if (may_have_been_us()) return;
    const bool talking = phase_ == Phase::talking;
    conclude(Outcome::failed,
             fmt::format("timeout after {} while {}{}", format_duration(config_.timeout),
                         talking ? "waiting for " : "connecting",
                         talking ? probe_->awaited() : std::string_view{}),
             Ending::reset);
}

// Without memory only for what is a local error.
void Checker::conclude(Outcome outcome, std::string cause, Ending ending) {
    const bool good = outcome == Outcome::passed;
    std::optional<Transition> transition;
    if (outcome != Outcome::local_error) transition = state_.count(good, cause);
    result_ = CheckResult{.outcome = outcome,
                          .cause = std::move(cause),
                          .duration = reactor_.now() - started_,
                          .transition = std::move(transition)};
    next_start_ = saturating_add(started_, next_interval());
    probe_.reset();
    received_ = {};
    received_bytes_ = 0;
    ending_ = ending;
    if (ending == Ending::reset) {
        reset();
        return rest();
    }
    phase_ = Phase::leaving;
    // Not cut off by the next one: servers log that.
    timer_.start_at(saturating_add(started_, config_.timeout));
}

void Checker::leave() {
    flush();
    if (outgoing_.empty() && ending_ == Ending::finish && !std::exchange(has_finished_, true))
        static_cast<void>(sys::shutdown_write(fd_.get()));

    std::array<std::byte, 4096> thrown_away;
    while (watch_.readable()) {
        const sys::IoResult got = sys::recv(fd_.get(), thrown_away);
        if (got.status == sys::Io::would_block) {
            watch_.clear_readable();
            break;
        }
        received_bytes_ += got.bytes;
        if (got.status == sys::Io::moved && received_bytes_ < farewell_bytes) continue;
        if (got.status == sys::Io::moved) reset();
        close();
        return rest();
    }
    if (!timer_.take_fired() && !due_) return;
    reset();
    rest();
}

// Until the next check.
void Checker::rest() {
    phase_ = Phase::idle;
    outgoing_ = {};
    timer_.start_at(next_start_);  // in the next turn, if that is over
    if (due_) reactor_.schedule(*this);
}

void Checker::close() noexcept {
    watch_.detach();
    fd_.reset();
}

void Checker::reset() noexcept {
    if (fd_.valid()) sys::reset_on_close(fd_.get());
    close();
}

Duration Checker::next_interval() noexcept {
    Duration interval = config_.interval;
    if (state_.changing()) interval = std::min(interval, config_.fast_interval);
    interval = std::max(interval, shortest_interval);
    static constexpr std::uint64_t steps = 2001;
    const auto step = static_cast<std::int64_t>(next_random(random_) % steps) - 1000;
    return saturating_add(interval, interval / 10'000 * step);
}

}  // namespace eplb::health
