#pragma once

#include "eplb/fd.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace eplb::app {

/// Where the log is written to: a file, a pipe, a terminal, a socket. What opening and closing take is
/// up to a file system, which may be at the other end of a network: not for a reactor's thread.
class LogTarget {
public:
    struct Opened {
        std::unique_ptr<LogTarget> target;  ///< or none, and
        std::string problem;                ///< why, with the file's name
        bool nobody_reads = false;          ///< it is a FIFO, and somebody may come
    };
    /// To append to `file`, which is made if it is not there; "-" is standard error. Does not wait for the
    /// reader of a FIFO.
    [[nodiscard]] static Opened open(const std::string& file);

    struct Written {
        std::size_t bytes = 0;
        int error = 0;  ///< errno; EAGAIN: not now, see poll(2) for POLLOUT on fd()
    };
    /// Not more than `at_once()`. Never waits for a reader.
    [[nodiscard]] Written write(std::string_view bytes) noexcept;

    /// A pipe takes PIPE_BUF bytes whole, so that other writers' lines stay whole as well.
    [[nodiscard]] std::size_t at_once() const noexcept;
    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] bool shows_colours() const noexcept { return shows_colours_; }
    /// What was begun can be gone on with later; a pipe may have another reader by then.
    [[nodiscard]] bool is_file() const noexcept { return kind_ == Kind::file; }
    /// It was left by somebody in the middle of a line.
    [[nodiscard]] bool ends_amid_line() const noexcept { return ends_amid_line_; }

private:
    enum class Kind : std::uint8_t { file, stream, socket };

    LogTarget() noexcept = default;
    static Opened open_standard_error();
    void look_at() noexcept;

    Fd own_;       // none for standard error, but for a terminal
    int fd_ = -1;  // own_'s, or standard error
    Kind kind_ = Kind::file;
    bool nonblocking_ = false;
    bool shows_colours_ = false;
    bool ends_amid_line_ = false;
};

/// To standard error, without going through a log: what does not fit is waited for, but for a second at
/// most, since nobody may read it.
void tell_standard_error(std::string_view text) noexcept;
/// The same, as a line of the command: "eplb: MESSAGE".
void complain(std::string_view message);

}  // namespace eplb::app
