#include "config/config_text.hpp"

#include "base/size.hpp"
#include "eplb/fd.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

namespace eplb::control {
namespace {

[[noreturn]] void reject(const std::filesystem::path& file, std::string_view why) {
    throw ConfigError(fmt::format("{}: {}", file.string(), why));
}

[[noreturn]] void reject(const std::filesystem::path& file, std::string_view doing, int error) {
    throw ConfigError(fmt::format("cannot {} {}: {}", doing, file.string(), std::strerror(error)));
}

std::string_view kind_of(mode_t mode) noexcept {
    if (S_ISDIR(mode)) return "it is a directory; name the file in it";
    if (S_ISFIFO(mode)) return "it is a pipe; a configuration that can be read again is a file";
    if (S_ISSOCK(mode)) return "it is a socket";
    return "it is a device";
}

Fd open_file(const std::filesystem::path& file) {
    // O_NONBLOCK: opening a FIFO would wait for a writer.
    Fd fd{::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
    // What open(2) says of a socket.
    if (!fd.valid() && errno == ENXIO) reject(file, kind_of(S_IFSOCK));
    if (!fd.valid()) reject(file, "open", errno);
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) reject(file, "look at", errno);
    if (!S_ISREG(status.st_mode)) reject(file, kind_of(status.st_mode));
    return fd;
}

std::string read_at_most(const std::filesystem::path& file, const Fd& fd, std::size_t limit) {
    std::string text(limit, '\0');
    std::size_t size = 0;
    while (size < limit) {
        const ssize_t got = ::read(fd.get(), text.data() + size, limit - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) reject(file, "read", errno);
        if (got == 0) break;
        size += static_cast<std::size_t>(got);
    }
    text.resize(size);
    return text;
}

std::size_t line_at(std::string_view text, std::size_t offset) {
    return 1 + static_cast<std::size_t>(std::ranges::count(text.substr(0, offset), '\n'));
}

}  // namespace

std::string read_config_text(const std::filesystem::path& file) {
    const Fd fd = open_file(file);
    std::string text = read_at_most(file, fd, most_config_bytes + 1);
    if (text.size() > most_config_bytes) {
        reject(file, fmt::format("it is larger than {}, which no configuration is",
                                 format_size(most_config_bytes)));
    }
    if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff"))
        reject(file, "it is UTF-16; save it as UTF-8");
    if (const std::size_t nul = text.find('\0'); nul != std::string::npos) {
        throw ConfigError(fmt::format("{}:{}: error: there is a NUL byte: this is no text",
                                      file.string(), line_at(text, nul)));
    }
    return text;
}

}  // namespace eplb::control
