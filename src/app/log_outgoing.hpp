#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace eplb::app {

/// What is on its way to the target: whole lines, of which the first may have been written in part.
class LogOutgoing {
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

}  // namespace eplb::app
