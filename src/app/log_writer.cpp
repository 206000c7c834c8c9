// What any thread may call.
#include "app/log_writer.hpp"

#include "app/log_writer_impl.hpp"
#include "base/threads.hpp"

#include <stdexcept>
#include <unistd.h>
#include <utility>

namespace eplb::app {
namespace {

using control::LogFormat;

constexpr auto longest_opening = std::chrono::seconds{2};
// For a thread that only has to be given a processor.
constexpr auto longest_end = std::chrono::seconds{2};

}  // namespace

void LogWriter::Impl::write(LogLevel level, LogFormat format, std::string_view text) noexcept {
    bool wake_up = false;
    try {
        const LogRecord record{std::chrono::system_clock::now(), level, format, text};
        const std::lock_guard lock{mutex_};
        lost_for_room_ += queue_.push(record);
        wake_up = std::exchange(resting_, false);
    } catch (...) {
        count_lost();
    }
    if (wake_up) work_.notify_one();
}

void LogWriter::Impl::wake() noexcept {
    resting_ = false;
    work_.notify_one();
    const std::uint64_t one = 1;
    // Full: it is awake.
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void LogWriter::Impl::request(const std::shared_ptr<Opening>& opening) {
    const auto deadline = Clock::now() + longest_opening;
    std::unique_lock lock{mutex_};
    requests_.push_back(opening);
    wake();
    change_.wait_until(lock, deadline, [&] { return opening->state != State::pending; });
}

LogWriter::State LogWriter::Impl::state_of(const Opening& opening) const {
    const std::lock_guard lock{mutex_};
    return opening.state;
}

std::string LogWriter::Impl::problem_of(const Opening& opening) const {
    const std::lock_guard lock{mutex_};
    if (opening.state == State::pending)
        return fmt::format("the log file {} takes long to open", opening.file);
    return opening.opened.problem;
}

void LogWriter::Impl::start_with(const std::shared_ptr<Opening>& opening) {
    const std::lock_guard lock{mutex_};
    switches_.push_back({opening, 0});
    wake();
}

void LogWriter::Impl::go_over_to(std::shared_ptr<Opening> opening) {
    const std::lock_guard lock{mutex_};
    switches_.push_back({std::move(opening), queue_.cut()});
    wake();
}

void LogWriter::Impl::reopen() {
    const std::lock_guard lock{mutex_};
    // One wish, if the last one is not granted yet.
    if (!switches_.empty() && switches_.back().opening == nullptr) switches_.pop_back();
    switches_.push_back({nullptr, queue_.cut()});
    wake();
}

void LogWriter::Impl::dispose(std::unique_ptr<LogTarget> target) noexcept {
    try {
        const std::lock_guard lock{mutex_};
        if (ended_) return;  // closed by whoever drops it: there is no thread any more
        discarded_.push_back(std::move(target));
        wake();
    } catch (...) {
        return;
    }
}

bool LogWriter::Impl::finish(std::chrono::milliseconds patience) noexcept {
    std::unique_lock lock{mutex_};
    const auto deadline = Clock::now() + patience;
    deadline_ = deadline;
    ending_ = true;
    wake();
    return change_.wait_until(lock, deadline + longest_end, [this] { return ended_; });
}

// --- the handle ---

LogWriter::LogWriter(const std::string& file) : impl_{std::make_shared<Impl>()} {
    thread_ = start_without_signals("the log", [impl = impl_] { impl->run(); });
    try {
        const std::shared_ptr<Opening> opening = open(file);
        const State state = state_of(*opening);
        if (state != State::open) problem_ = problem_of(*opening);
        if (state == State::failed && !opening->opened.nobody_reads)
            throw std::runtime_error(problem_);
        impl_->start_with(opening);
    } catch (...) {
        static_cast<void>(finish());
        throw;
    }
}

LogWriter::~LogWriter() { static_cast<void>(finish()); }

void LogWriter::write(LogLevel level, LogFormat format, std::string_view text) noexcept {
    impl_->write(level, format, text);
}
void LogWriter::count_lost() noexcept { impl_->count_lost(); }
void LogWriter::set_format(LogFormat format) noexcept { impl_->set_format(format); }

std::shared_ptr<LogWriter::Opening> LogWriter::open(const std::string& file) {
    auto opening = std::make_shared<Opening>(impl_, file);
    impl_->request(opening);
    return opening;
}

LogWriter::State LogWriter::state_of(const Opening& opening) const {
    return impl_->state_of(opening);
}

std::string LogWriter::problem_of(const Opening& opening) const {
    return impl_->problem_of(opening);
}

void LogWriter::go_over_to(std::shared_ptr<Opening> opening) {
    impl_->go_over_to(std::move(opening));
}

void LogWriter::reopen() noexcept {
    try {
        impl_->reopen();
    } catch (...) {
        count_lost();
    }
}

bool LogWriter::finish(std::chrono::milliseconds patience) noexcept {
    if (!thread_.joinable()) return true;
    const bool ended = impl_->finish(patience);
    if (ended) {
        thread_.join();
    } else {
        thread_.detach();
    }
    return ended;
}

}  // namespace eplb::app
