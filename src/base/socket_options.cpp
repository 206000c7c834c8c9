#include "base/socket_options.hpp"

#include "base/sys.hpp"

#include <array>
#include <netinet/in.h>
#include <netinet/tcp.h>

namespace eplb {

void set_no_delay(const Fd& fd) noexcept {
    static_cast<void>(sys::set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1));
}

void set_keepalive(const Fd& fd) noexcept {
    struct Option {
        int level;
        int name;
        int value;
    };
    static constexpr std::array<Option, 4> options{{
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 60},
        {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 6},
    }};
    for (const Option& option : options) {
        static_cast<void>(sys::set_option(fd.get(), option.level, option.name, option.value));
    }
}

}  // namespace eplb
