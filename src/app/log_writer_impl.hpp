#pragma once

// What the files log_writer*.cpp share; for nobody else.

#include "app/log_losses.hpp"
#include "app/log_outgoing.hpp"
#include "app/log_queue.hpp"
#include "app/log_target.hpp"
#include "app/log_writer.hpp"
#include "eplb/fd.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <fmt/format.h>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <sys/eventfd.h>
#include <utility>
#include <vector>

namespace eplb::app {

class LogWriter::Impl {
public:
    using Clock = std::chrono::steady_clock;
    using LogFormat = control::LogFormat;

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
    void fill(const LogBlock* block, const LogLosses& lost, bool last);
    void flush() noexcept;
    void wait_for_room() noexcept;
    void on_write_error(int error) noexcept;
    void complain_once() noexcept;
    void rest(Lock& lock);
    void tell(LogLevel level, const std::string& message) noexcept;
    [[nodiscard]] LogLosses losses() const noexcept;
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
    LogOutgoing out_;
    bool owes_line_feed_ = false;  // the target has a line that will never be whole
    bool blocked_ = false;
    bool failing_ = false;
    int last_error_ = 0;
    std::uint64_t lost_for_error_ = 0;
    LogLosses told_;                // by the report in out_
    LogLosses reported_;            // by those that were written
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

}  // namespace eplb::app
