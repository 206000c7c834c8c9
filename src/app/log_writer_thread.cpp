// What the log's thread does, one thing after the other, and when.
#include "app/log_writer_impl.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

namespace eplb::app {
namespace {

constexpr auto retry_interval = std::chrono::seconds{1};

}  // namespace

void LogWriter::Impl::run() noexcept {
    Lock lock{mutex_};
    for (;;) {
        try {
            if (!turn(lock)) break;
        } catch (...) {
            // No memory for what it was about to do. It was told nowhere; the next one may be.
            if (!lock.owns_lock()) lock.lock();
            count_lost();
            lost_for_error_ += out_.drop(false);
        }
    }
    ended_ = true;
    auto switches = std::move(switches_);
    auto requests = std::move(requests_);
    lock.unlock();
    change_.notify_all();
    switches.clear();  // what is dropped takes the mutex
    requests.clear();
    target_.reset();
}

// Does one thing, or waits for one to do. False: that was all.
bool LogWriter::Impl::turn(Lock& lock) {
    if (open_requested(lock) || close_discarded(lock) || make_switch(lock)) return true;
    const bool over = ending_ && Clock::now() >= deadline_.load();
    if (over) return false;
    if (target_ == nullptr) {
        if (ending_ && switches_.empty()) return false;
        if (!file_.empty() && Clock::now() >= next_try_) {
            lock.unlock();
            try_to_open();
            lock.lock();
            return true;
        }
        rest(lock);
        return true;
    }
    const bool unsent = !out_.empty() && !failing_;
    if (unsent || !queue_.empty() || report_due()) {
        send(lock);
        return true;
    }
    if (ending_) return false;
    rest(lock);
    return true;
}

bool LogWriter::Impl::open_requested(Lock& lock) {
    if (requests_.empty()) return false;
    std::shared_ptr<Opening> opening = std::move(requests_.front());
    requests_.pop_front();
    lock.unlock();
    LogTarget::Opened opened = LogTarget::open(opening->file);
    lock.lock();
    opening->state = opened.target != nullptr ? State::open : State::failed;
    opening->opened = std::move(opened);
    change_.notify_all();
    lock.unlock();
    opening.reset();  // it may be the last reference by now, and takes the mutex
    lock.lock();
    return true;
}

bool LogWriter::Impl::close_discarded(Lock& lock) {
    if (discarded_.empty()) return false;
    std::vector<std::unique_ptr<LogTarget>> discarded = std::move(discarded_);
    discarded_.clear();
    lock.unlock();
    discarded.clear();
    lock.lock();
    return true;
}

// What was told before is written where it belongs, unless that does not take it: then it goes along.
bool LogWriter::Impl::make_switch(Lock& lock) {
    if (switches_.empty()) return false;
    const bool stuck = target_ == nullptr || blocked_;
    const bool written =
        queue_.next() >= switches_.front().before_block && (out_.empty() || failing_);
    if (!stuck && !written) return false;
    Switch next = std::move(switches_.front());
    switches_.pop_front();
    if (next.opening == nullptr) {
        lock.unlock();
        if (!file_.empty()) exchange_target(LogTarget::open(file_), file_);
    } else {
        LogTarget::Opened opened = std::move(next.opening->opened);
        next.opening->opened = {};
        lock.unlock();
        exchange_target(std::move(opened), next.opening->file);
        next.opening.reset();
    }
    lock.lock();
    return true;
}

void LogWriter::Impl::exchange_target(LogTarget::Opened opened, const std::string& file) {
    if (opened.target == nullptr) {
        if (target_ != nullptr)
            return tell(LogLevel::error, opened.problem + "; the old log goes on");
        file_ = file;
        next_try_ = Clock::now() + retry_interval;
        return;
    }
    if (failing_) {  // the rest of a line is nothing by itself
        const std::size_t lost = out_.drop(false);
        if (report_end_ == 0) lost_for_error_ += lost;
        report_end_ = 0;
    }
    out_.rewind();
    owes_line_feed_ = opened.target->ends_amid_line();
    target_ = std::move(opened.target);
    file_ = file;
    blocked_ = false;
    failing_ = false;
}

void LogWriter::Impl::try_to_open() {
    next_try_ = Clock::now() + retry_interval;
    exchange_target(LogTarget::open(file_), std::string{file_});
}

void LogWriter::Impl::rest(Lock& lock) {
    resting_ = true;
    if (const auto next = next_task()) {
        work_.wait_until(lock, *next, [this] { return !resting_; });
    } else {
        work_.wait(lock, [this] { return !resting_; });
    }
    resting_ = false;
}

std::optional<std::chrono::steady_clock::time_point> LogWriter::Impl::next_task() const noexcept {
    std::optional<Clock::time_point> next;
    const auto at = [&next](Clock::time_point time) { next = next ? std::min(*next, time) : time; };
    if (ending_) at(deadline_.load());
    if (target_ == nullptr && !file_.empty()) at(next_try_);
    if (target_ != nullptr && owes_something()) at(std::max(next_report_, next_attempt_));
    return next;
}

}  // namespace eplb::app
