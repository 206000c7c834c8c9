#include "app/log_writer.hpp"

#include "app/log_queue.hpp"
#include "app/log_target.hpp"
#include "base/threads.hpp"
#include "eplb/fd.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <fmt/format.h>
#include <mutex>
#include <optional>
#include <poll.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace eplb::app {
namespace {

using Clock = std::chrono::steady_clock;
using control::LogFormat;

constexpr auto longest_opening = std::chrono::seconds{2};
// For a thread that only has to be given a processor.
constexpr auto longest_end = std::chrono::seconds{2};
constexpr auto report_interval = std::chrono::seconds{1};
constexpr auto retry_interval = std::chrono::seconds{1};

// Lines that were lost, ever.
struct Losses {
    std::uint64_t full = 0;
    std::uint64_t memory = 0;
    std::uint64_t write_error = 0;

    [[nodiscard]] std::uint64_t all() const noexcept { return full + memory + write_error; }
    friend Losses operator-(const Losses& a, const Losses& b) noexcept {
        return {a.full - b.full, a.memory - b.memory, a.write_error - b.write_error};
    }
};

std::string to_text(const Losses& losses, int error) {
    std::string causes;
    const auto add = [&causes](std::uint64_t count, std::string_view cause) {
        if (count != 0) causes += fmt::format("{}{} {}", causes.empty() ? "" : ", ", count, cause);
    };
    add(losses.full, "because nobody reads the log fast enough");
    add(losses.memory, "for lack of memory");
    add(losses.write_error, fmt::format("could not be written ({})", std::strerror(error)));
    return fmt::format("{} log line{} dropped: {}", losses.all(), losses.all() == 1 ? "" : "s",
                       causes);
}

// What is on its way to the target: whole lines, of which the first may have been written in part.
class Outgoing {
public:
    std::string bytes;

    [[nodiscard]] bool empty() const noexcept { return written_ == bytes.size(); }
    [[nodiscard]] bool amid_line() const noexcept {
        return written_ > 0 && bytes[written_ - 1] != '\n';
    }
    /// Whole lines as far as `at_once` bytes go, or a part of one that is longer.
    [[nodiscard]] std::string_view piece(std::size_t at_once) const noexcept {
        const std::string_view rest = std::string_view{bytes}.substr(written_);
        if (rest.size() <= at_once) return rest;
        const std::size_t end = rest.rfind('\n', at_once - 1);
        return rest.substr(0, end == std::string_view::npos ? at_once : end + 1);
    }
    void advance(std::size_t count) noexcept { written_ += count; }
    [[nodiscard]] std::size_t written() const noexcept { return written_; }

    /// Begins the line again that was written in part: it goes elsewhere.
    void rewind() noexcept { written_ = line_start(); }
    /// Forgets what is written, but for the beginning of the line that is written in part. Returns how
    /// many bytes.
    std::size_t forget_written() noexcept {
        const std::size_t start = line_start();
        bytes.erase(0, start);
        written_ -= start;
        return start;
    }
    /// Gives up all that is not written; if `keep_begun`, but for the rest of a line. Returns how many lines.
    std::size_t drop(bool keep_begun) noexcept {
        std::size_t from = line_start();
        if (keep_begun && written_ > from) from = bytes.find('\n', written_) + 1;
        const auto lines =
            std::count(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.end(), '\n');
        bytes.resize(from);
        written_ = std::min(written_, from);
        return static_cast<std::size_t>(lines);
    }

    [[nodiscard]] std::size_t line_start() const noexcept {
        if (!amid_line()) return written_;
        const std::size_t end = bytes.rfind('\n', written_ - 1);
        return end == std::string::npos ? 0 : end + 1;
    }

private:
    std::size_t written_ = 0;
};

}  // namespace

class LogWriter::Impl {
public:
    Impl() : wake_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)} {
        if (!wake_.valid()) throw fmt::system_error(errno, "cannot make the log's eventfd");
    }

    // For any thread.

    void write(LogLevel level, LogFormat format, std::string_view text) noexcept;
    void count_lost() noexcept { lost_for_memory_.fetch_add(1, std::memory_order_relaxed); }
    void set_format(LogFormat format) noexcept { own_format_ = format; }
    void request(const std::shared_ptr<Opening>& opening);
    [[nodiscard]] State state_of(const Opening& opening) const;
    [[nodiscard]] std::string problem_of(const Opening& opening) const;
    void go_over_to(std::shared_ptr<Opening> opening);
    void reopen();
    void dispose(std::unique_ptr<LogTarget> target) noexcept;
    [[nodiscard]] bool finish(std::chrono::milliseconds patience) noexcept;
    /// Of a start: there is no target yet.
    void start_with(const std::shared_ptr<Opening>& opening);

    void run() noexcept;

    mutable std::mutex mutex_;

private:
    // What the target is exchanged for.
    struct Switch {
        std::shared_ptr<Opening> opening;  // none: the same file anew
        std::uint64_t before_block = 0;
    };
    using Lock = std::unique_lock<std::mutex>;

    void wake() noexcept;
    bool turn(Lock& lock);
    bool open_requested(Lock& lock);
    bool close_discarded(Lock& lock);
    bool make_switch(Lock& lock);
    void exchange_target(LogTarget::Opened opened, const std::string& file);
    void try_to_open();
    void send(Lock& lock);
    void fill(const LogBlock* block, const Losses& lost, bool last);
    void flush() noexcept;
    void wait_for_room() noexcept;
    void on_write_error(int error) noexcept;
    void complain_once() noexcept;
    void rest(Lock& lock);
    void tell(LogLevel level, const std::string& message) noexcept;
    [[nodiscard]] Losses losses() const noexcept;
    [[nodiscard]] bool owes_something() const noexcept;
    [[nodiscard]] bool report_due() const noexcept;
    [[nodiscard]] std::optional<Clock::time_point> next_task() const noexcept;

    // Guarded by the mutex:
    LogQueue queue_;
    std::uint64_t lost_for_room_ = 0;
    bool resting_ = false;
    std::deque<std::shared_ptr<Opening>> requests_;
    std::deque<Switch> switches_;
    std::vector<std::unique_ptr<LogTarget>> discarded_;
    bool ending_ = false;
    bool ended_ = false;
    std::condition_variable work_;    // for the log's thread
    std::condition_variable change_;  // for those who wait for it

    std::atomic<std::uint64_t> lost_for_memory_{0};
    std::atomic<LogFormat> own_format_{LogFormat::text};
    std::atomic<Clock::time_point> deadline_{Clock::time_point::max()};  // once it is ending
    Fd wake_;  // while the thread waits for room

    // Of the log's thread:
    std::unique_ptr<LogTarget> target_;
    std::string file_;  // what target_ is, or is to become
    Clock::time_point next_try_{};
    LogFormatter formatter_;
    Outgoing out_;
    bool owes_line_feed_ = false;  // the target has a line that will never be whole
    bool blocked_ = false;
    bool failing_ = false;
    int last_error_ = 0;
    std::uint64_t lost_for_error_ = 0;
    Losses told_;                   // by the report in out_
    Losses reported_;               // by those that were written
    std::size_t report_begin_ = 0;  // of the report in out_
    std::size_t report_end_ = 0;    // 0: there is none
    Clock::time_point next_report_{};
    Clock::time_point next_attempt_{};  // when the target fails, and nothing new is told
    Clock::time_point next_complaint_{};
};

// What is in it is guarded by the writer's mutex.
class LogWriter::Opening {
public:
    Opening(std::shared_ptr<Impl> writer, std::string name)
        : file{std::move(name)}, writer_{std::move(writer)} {}
    ~Opening() {
        if (opened.target != nullptr) writer_->dispose(std::move(opened.target));
    }
    Opening(const Opening&) = delete;
    Opening& operator=(const Opening&) = delete;

    const std::string file;
    State state = State::pending;
    LogTarget::Opened opened;

private:
    std::shared_ptr<Impl> writer_;
};

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

// --- on the log's thread ---

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

void LogWriter::Impl::send(Lock& lock) {
    const bool more = out_.empty() || failing_;
    std::optional<LogBlock> block;
    if (more && !queue_.empty()) block = queue_.take();
    const Losses lost = losses();
    const bool last = ending_;
    lock.unlock();
    if (more) fill(block ? &*block : nullptr, lost, last);
    flush();
    lock.lock();
    if (block) queue_.give_back(std::move(*block));
}

// What was lost was lost before what comes now was told: it is said first.
void LogWriter::Impl::fill(const LogBlock* block, const Losses& lost, bool last) {
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

void LogWriter::Impl::rest(Lock& lock) {
    resting_ = true;
    if (const auto next = next_task()) {
        work_.wait_until(lock, *next, [this] { return !resting_; });
    } else {
        work_.wait(lock, [this] { return !resting_; });
    }
    resting_ = false;
}

std::optional<Clock::time_point> LogWriter::Impl::next_task() const noexcept {
    std::optional<Clock::time_point> next;
    const auto at = [&next](Clock::time_point time) { next = next ? std::min(*next, time) : time; };
    if (ending_) at(deadline_.load());
    if (target_ == nullptr && !file_.empty()) at(next_try_);
    if (target_ != nullptr && owes_something()) at(std::max(next_report_, next_attempt_));
    return next;
}

void LogWriter::Impl::tell(LogLevel level, const std::string& message) noexcept {
    try {
        const LogFormat format = own_format_;
        write(level, format, message_text(format, message));
    } catch (...) {
        count_lost();
    }
}

Losses LogWriter::Impl::losses() const noexcept {
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
