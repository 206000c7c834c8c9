#pragma once

#include "app/log_format.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace eplb::app {

/// Writes lines on a thread of its own, which opens and closes what it writes to as well. Whoever tells
/// a line copies it into a queue of a mebibyte, and goes on: a reader who is slow, or dead, a full disk, a
/// file system that hangs cost lines, and never anything else.
///
/// A line is written at once when the log is quiet; those that wait are written together. What is lost
/// is counted by cause (it did not fit, there was no memory, it could not be written), and the log says so as
/// soon as it can, once a second at most. A line that a full disk took half of is completed when there is
/// room; one that cannot be is followed by a line feed.
///
/// Any thread may call what is here; write() waits for nothing but another one's copy.
class LogWriter {
public:
    /// What is being opened, or is open and waits for its turn. Dropping it closes it, on the log's
    /// thread.
    class Opening;
    enum class State : std::uint8_t { pending, open, failed };

    /// Opens `file`, or "-" for standard error, and waits for that, two seconds at most. Throws
    /// std::runtime_error when it cannot be opened, or there can be no thread. A FIFO that nobody reads
    /// yet, and what takes longer, it goes on trying, and problem() says so.
    explicit LogWriter(const std::string& file);
    /// As finish().
    ~LogWriter();
    LogWriter(const LogWriter&) = delete;
    LogWriter& operator=(const LogWriter&) = delete;

    /// What is to be known of the start: empty, or why nothing is written yet.
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

    void write(LogLevel level, control::LogFormat format, std::string_view text) noexcept;
    /// There was no memory to make a line with.
    void count_lost() noexcept;
    /// For what the writer itself tells.
    void set_format(control::LogFormat format) noexcept;

    /// Has `file` opened. Waits for that, two seconds at most: not for a reactor's thread.
    [[nodiscard]] std::shared_ptr<Opening> open(const std::string& file);
    /// Only a pending one may still change.
    [[nodiscard]] State state_of(const Opening& opening) const;
    [[nodiscard]] std::string problem_of(const Opening& opening) const;
    /// What is told from now on goes there. What was told before goes where it went, if that takes it. One
    /// that is still pending takes over when it is open; one that fails changes nothing and is told.
    void go_over_to(std::shared_ptr<Opening> opening);
    /// Opens the same file anew, for what is told from now on: it may have been moved away.
    void reopen() noexcept;

    /// Waits until everything is written, for `patience` at most, and ends the thread. False: it hangs, in a
    /// call that cannot be ended, and ends with the process. Not for several threads.
    bool finish(std::chrono::milliseconds patience = std::chrono::seconds{1}) noexcept;

private:
    class Impl;
    std::shared_ptr<Impl> impl_;  // the thread has it, too
    std::thread thread_;
    std::string problem_;
};

}  // namespace eplb::app
