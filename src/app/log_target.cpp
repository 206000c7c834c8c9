#include "app/log_target.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace eplb::app {
namespace {

constexpr int append_flags = O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
constexpr auto longest_tell = std::chrono::seconds{1};

bool is_fifo(const std::string& file) noexcept {
    struct stat status{};
    return ::stat(file.c_str(), &status) == 0 && S_ISFIFO(status.st_mode);
}

bool terminal_shows_colours() noexcept {
    const char* const terminal = std::getenv("TERM");
    return terminal != nullptr && *terminal != '\0' && std::string_view{terminal} != "dumb" &&
           ::isatty(STDERR_FILENO) == 1;
}

// It was opened for writing only. A file that we may not read is taken for one that is whole.
bool ends_amid_line(const std::string& file, off_t size) noexcept {
    if (size == 0) return false;
    const Fd fd{::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
    char last = '\n';
    return fd.valid() && ::pread(fd.get(), &last, 1, size - 1) == 1 && last != '\n';
}

}  // namespace

LogTarget::Opened LogTarget::open(const std::string& file) {
    if (file == "-") return open_standard_error();
    Opened result;
    Fd fd{::open(file.c_str(), append_flags | O_CREAT, 0644)};
    if (!fd.valid()) {
        const int error = errno;
        result.nobody_reads = error == ENXIO && is_fifo(file);
        result.problem = fmt::format(
            "cannot write the log file {}: {}", file,
            result.nobody_reads ? "it is a FIFO that nobody reads" : std::strerror(error));
        return result;
    }
    result.target.reset(new LogTarget);
    LogTarget& target = *result.target;
    target.own_ = std::move(fd);
    target.fd_ = target.own_.get();
    target.nonblocking_ = true;
    target.look_at();
    struct stat status{};
    if (target.is_file() && ::fstat(target.fd_, &status) == 0)
        target.ends_amid_line_ = app::ends_amid_line(file, status.st_size);
    return result;
}

// O_NONBLOCK belongs to what is open, which we share with whoever started us, and with whoever else
// writes there. A terminal can be opened anew, for us alone: it takes what it has room for, and less than
// PIPE_BUF may be all. Of a pipe poll(2) says that it takes that much. A file must not be opened anew, for
// its position is shared with what is written past the log.
LogTarget::Opened LogTarget::open_standard_error() {
    Opened result;
    result.target.reset(new LogTarget);
    LogTarget& target = *result.target;
    target.fd_ = STDERR_FILENO;
    target.look_at();
    target.shows_colours_ = terminal_shows_colours();
    if (::isatty(STDERR_FILENO) == 1) {
        target.own_.reset(::open("/proc/self/fd/2", append_flags));
        if (target.own_.valid()) {
            target.fd_ = target.own_.get();
            target.nonblocking_ = true;
        }
    }
    return result;
}

void LogTarget::look_at() noexcept {
    struct stat status{};
    if (::fstat(fd_, &status) != 0) return;
    if (S_ISSOCK(status.st_mode)) {
        kind_ = Kind::socket;
    } else if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
        kind_ = Kind::stream;
    }
}

std::size_t LogTarget::at_once() const noexcept {
    return is_file() ? std::numeric_limits<std::size_t>::max() : std::size_t{PIPE_BUF};
}

LogTarget::Written LogTarget::write(std::string_view bytes) noexcept {
    bytes = bytes.substr(0, at_once());
    for (;;) {
        // Others may write to it, too, and take the room that was there: then it is the log's thread that
        // waits, and nobody else.
        if (kind_ == Kind::stream && !nonblocking_) {
            pollfd room{fd_, POLLOUT, 0};
            if (::poll(&room, 1, 0) == 0) return {0, EAGAIN};
        }
        const ssize_t written = kind_ == Kind::socket ? ::send(fd_, bytes.data(), bytes.size(),
                                                               MSG_DONTWAIT | MSG_NOSIGNAL)
                                                      : ::write(fd_, bytes.data(), bytes.size());
        if (written >= 0) return {static_cast<std::size_t>(written), 0};
        if (errno != EINTR) return {0, errno};
    }
}

void tell_standard_error(std::string_view text) noexcept {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + longest_tell;
    const auto left = [deadline] {
        return std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now())
            .count();
    };
    struct stat status{};
    const bool file = ::fstat(STDERR_FILENO, &status) == 0 && S_ISREG(status.st_mode);
    while (!text.empty()) {
        pollfd room{STDERR_FILENO, POLLOUT, 0};
        const int ready = ::poll(&room, 1, static_cast<int>(std::max<std::int64_t>(left(), 0)));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return;
        const std::size_t size = file ? text.size() : std::min<std::size_t>(text.size(), PIPE_BUF);
        const ssize_t written = ::write(STDERR_FILENO, text.data(), size);
        if (written < 0 && errno != EINTR && errno != EAGAIN) return;
        if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
        if (left() <= 0 && !file) return;
    }
}

void complain(std::string_view message) { tell_standard_error(fmt::format("eplb: {}\n", message)); }

}  // namespace eplb::app
