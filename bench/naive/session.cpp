#include "session.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace naive {
namespace {

constexpr std::size_t buffer_bytes = 32 * 1024;
constexpr std::size_t pipe_bytes = 64 * 1024;  // what a pipe has by default, pipe(7)

bool send_all(int fd, const char* data, std::size_t size) noexcept {
    while (size > 0) {
        const auto sent = ::send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return false;
        data += sent;
        size -= static_cast<std::size_t>(sent);
    }
    return true;
}

bool copy_all(int source, int destination) noexcept {
    // Not on the stack, where a compiler that initializes everything would touch all of its pages.
    const std::unique_ptr<char[]> buffer{new (std::nothrow) char[buffer_bytes]};
    if (buffer == nullptr) {
        complain("cannot allocate a buffer", ENOMEM);
        return false;
    }
    for (;;) {
        const auto got = ::recv(source, buffer.get(), buffer_bytes, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got == 0;
        if (!send_all(destination, buffer.get(), static_cast<std::size_t>(got))) return false;
    }
}

bool splice_all(int source, int destination) noexcept {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        complain("cannot make a pipe", errno);
        return false;
    }
    const eplb::Fd reader{ends[0]};
    const eplb::Fd writer{ends[1]};
    for (;;) {
        auto got = ::splice(source, nullptr, writer.get(), nullptr, pipe_bytes, SPLICE_F_MOVE);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got == 0;
        while (got > 0) {
            const auto put = ::splice(reader.get(), nullptr, destination, nullptr,
                                      static_cast<std::size_t>(got), SPLICE_F_MOVE);
            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) return false;
            got -= put;
        }
    }
}

}  // namespace

void Session::break_off() const noexcept {
    ::shutdown(client.get(), SHUT_RDWR);
    ::shutdown(server.get(), SHUT_RDWR);
}

void move_all(const Session& session, const eplb::Fd& source, const eplb::Fd& destination,
              Mode mode) {
    const bool ended = mode == Mode::splice ? splice_all(source.get(), destination.get())
                                            : copy_all(source.get(), destination.get());
    if (!ended) return session.break_off();
    ::shutdown(destination.get(), SHUT_WR);
}

void complain(const char* what, int error) noexcept {
    static std::mutex mutex;
    static std::map<std::string, std::time_t> last;
    const std::lock_guard lock{mutex};
    const std::time_t now = std::time(nullptr);
    if (last[what] == now) return;
    last[what] = now;
    std::fprintf(stderr, "naive-threads: %s: %s\n", what, std::strerror(error));
}

}  // namespace naive
