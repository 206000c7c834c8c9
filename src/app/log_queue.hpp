#pragma once

#include "app/log_format.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace eplb::app {

/// Records behind each other in one piece of memory, which is what LogQueue hands out and drops.
class LogBlock {
public:
    [[nodiscard]] static std::size_t bytes_of(const LogRecord& record) noexcept {
        return sizeof(Header) + record.text.size();
    }

    /// Allocates nothing that was reserved.
    void append(const LogRecord& record);
    void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
    void clear() noexcept {
        bytes_.clear();
        lines_ = 0;
    }

    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.size(); }
    [[nodiscard]] std::size_t capacity() const noexcept { return bytes_.capacity(); }
    [[nodiscard]] std::size_t lines() const noexcept { return lines_; }

    /// Calls visit(const LogRecord&) for each, in the order in which they were told.
    template <class Visit>
    void for_each(Visit visit) const {
        for (std::size_t at = 0; at < bytes_.size();) visit(read(at));
    }

    std::uint64_t number = 0;  ///< in the order of their making

private:
    struct Header {
        std::chrono::system_clock::time_point time;
        std::uint32_t size;
        LogLevel level;
        control::LogFormat format;
    };
    [[nodiscard]] LogRecord read(std::size_t& at) const noexcept;

    std::string bytes_;
    std::size_t lines_ = 0;
};

/// What was told and is not written yet, bounded in bytes, so that long lines are no more memory than
/// short ones. When it is full the oldest go, a block at a time: whoever looks into a log that got stuck
/// wants to know what happened last. Not for several threads.
class LogQueue {
public:
    static constexpr std::size_t block_bytes = std::size_t{16} << 10;

    explicit LogQueue(std::size_t most_bytes = std::size_t{1} << 20) noexcept
        : most_bytes_{most_bytes} {}

    /// Returns how many lines had to go for it; it is one of them itself if it is larger than all.
    /// std::bad_alloc: it was not taken, nor was any other lost.
    std::size_t push(const LogRecord& record);

    [[nodiscard]] bool empty() const noexcept { return blocks_.empty(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

    /// The oldest block. To be given back, for its memory.
    [[nodiscard]] LogBlock take() noexcept;
    void give_back(LogBlock block) noexcept;

    /// What is told from now on is in blocks of this number and later.
    [[nodiscard]] std::uint64_t cut() noexcept;
    /// The number of the block that take() would give, or else of the next that is made.
    [[nodiscard]] std::uint64_t next() const noexcept {
        return blocks_.empty() ? made_ : blocks_.front().number;
    }

private:
    [[nodiscard]] LogBlock new_block(std::size_t bytes);

    std::size_t most_bytes_;
    std::deque<LogBlock> blocks_;
    std::vector<LogBlock> spare_;
    std::size_t bytes_ = 0;
    std::uint64_t made_ = 0;
    bool cut_ = false;
};

}  // namespace eplb::app
