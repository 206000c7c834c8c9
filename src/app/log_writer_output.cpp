// Writing, on the log's thread; and what could not be written.
#include "app/log_writer_impl.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>
#include <utility>

namespace eplb::app {
namespace {

constexpr auto report_interval = std::chrono::seconds{1};

}  // namespace

void LogWriter::Impl::send(Lock& lock) {
    const bool more = out_.empty() || failing_;
    std::optional<LogBlock> block;
    if (more && !queue_.empty()) block = queue_.take();
    const LogLosses lost = losses();
    const bool last = ending_;
    lock.unlock();
    if (more) fill(block ? &*block : nullptr, lost, last);
    flush();
    lock.lock();
    if (block) queue_.give_back(std::move(*block));
}

// What was lost was lost before what comes now was told: it is said first.
void LogWriter::Impl::fill(const LogBlock* block, const LogLosses& lost, bool last) {
    const std::size_t forgotten = out_.forget_written();
    if (report_end_ != 0) {  // it was begun, and is to be completed
        report_begin_ -= forgotten;
        report_end_ -= forgotten;
    }
    const bool colours = target_->shows_colours();
    const std::size_t begun = out_.bytes.size();
    try {
        if (report_end_ == 0 && lost.all() != reported_.all() &&
            (last || Clock::now() >= next_report_)) {
            const LogFormat format = own_format_;
            const std::string text = message_text(format, to_text(lost - reported_, last_error_));
            formatter_.append_line(
                out_.bytes, {std::chrono::system_clock::now(), LogLevel::warning, format, text},
                colours);
            told_ = lost;
            report_begin_ = begun;
            report_end_ = out_.bytes.size();
        }
        if (block != nullptr) {
            block->for_each([&](const LogRecord& record) {
                formatter_.append_line(out_.bytes, record, colours);
            });
        }
    } catch (...) {
        out_.bytes.resize(begun);
        if (report_end_ > begun) report_end_ = 0;
        lost_for_memory_.fetch_add(block != nullptr ? block->lines() : 0);
    }
}

void LogWriter::Impl::flush() noexcept {
    blocked_ = false;
    failing_ = false;
    if (owes_line_feed_) {
        const auto [bytes, error] = target_->write("\n");
        if (error == EAGAIN) return wait_for_room();
        if (error != 0) return on_write_error(error);
        owes_line_feed_ = false;
    }
    while (!out_.empty()) {
        const auto [bytes, error] = target_->write(out_.piece(target_->at_once()));
        if (error == EAGAIN) return wait_for_room();
        if (error != 0 || bytes == 0) return on_write_error(error != 0 ? error : EIO);
        out_.advance(bytes);
        if (report_end_ != 0 && out_.written() >= report_end_) {
            report_end_ = 0;
            reported_ = told_;
            next_report_ = Clock::now() + report_interval;
        }
    }
}

// Until there is room, or there is something else to do.
void LogWriter::Impl::wait_for_room() noexcept {
    blocked_ = true;
    std::array<pollfd, 2> fds{{{target_->fd(), POLLOUT, 0}, {wake_.get(), POLLIN, 0}}};
    int timeout = -1;
    if (const auto deadline = deadline_.load(); deadline != Clock::time_point::max()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        timeout = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
    }
    ::poll(fds.data(), fds.size(), timeout);
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
}

void LogWriter::Impl::on_write_error(int error) noexcept {
    failing_ = true;
    last_error_ = error;
    next_attempt_ = Clock::now() + report_interval;
    const bool keep_begun = target_->is_file();
    if (!keep_begun && out_.amid_line()) owes_line_feed_ = true;
    const bool report_kept =
        keep_begun && out_.amid_line() && report_end_ != 0 && out_.line_start() == report_begin_;
    const bool report_dropped = report_end_ != 0 && !report_kept;
    if (report_dropped) report_end_ = 0;
    lost_for_error_ += out_.drop(keep_begun) - (report_dropped ? 1 : 0);
    complain_once();
}

// Where nobody would look for it in the log itself.
void LogWriter::Impl::complain_once() noexcept {
    const auto now = Clock::now();
    if (!target_->is_file() || file_ == "-" || now < next_complaint_) return;
    next_complaint_ = now + std::chrono::minutes{1};
    try {
        tell_standard_error(fmt::format("eplb: cannot write the log file {}: {}; lines are lost\n",
                                        file_, std::strerror(last_error_)));
    } catch (...) {
        return;
    }
}

void LogWriter::Impl::tell(LogLevel level, const std::string& message) noexcept {
    try {
        const LogFormat format = own_format_;
        write(level, format, message_text(format, message));
    } catch (...) {
        count_lost();
    }
}

LogLosses LogWriter::Impl::losses() const noexcept {
    return {lost_for_room_, lost_for_memory_.load(std::memory_order_relaxed), lost_for_error_};
}

// A report, or the rest of a line.
bool LogWriter::Impl::owes_something() const noexcept {
    return losses().all() != reported_.all() || !out_.empty();
}

bool LogWriter::Impl::report_due() const noexcept {
    if (!owes_something()) return false;
    return ending_ ? !failing_ : Clock::now() >= std::max(next_report_, next_attempt_);
}

}  // namespace eplb::app
