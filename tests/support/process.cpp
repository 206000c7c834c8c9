#include "support/process.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace eplb::test {
namespace {

void set_limit(const rlimit& limit) {
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        throw std::system_error{errno, std::system_category(), "setrlimit"};
    }
}

}  // namespace

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator{"/proc/self/fd"}) {
        ++count;
    }
    return count - 1;  // not the one that reads the directory
}

DescriptorShortage::DescriptorShortage(int spare) {
    ::getrlimit(RLIMIT_NOFILE, &saved_);
    // The kernel gives out the lowest free number: leave `spare` of them below the limit.
    int limit = -1;
    for (int i = 0; i <= spare; ++i) {
        limit = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, limit + 1);
        if (limit < 0) throw std::system_error{errno, std::system_category(), "F_DUPFD"};
        ::close(limit);
    }
    set_limit({static_cast<rlim_t>(limit), saved_.rlim_max});
}

void DescriptorShortage::end() {
    if (saved_.rlim_max == 0) return;
    set_limit(saved_);
    saved_ = {};
}

int in_child(const std::function<int()>& check) {
    const pid_t pid = ::fork();
    if (pid < 0) throw std::system_error{errno, std::system_category(), "fork"};
    if (pid == 0) {
        int code = 255;
        try {
            code = check();
        } catch (...) {}
        ::_exit(code);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

bool enter_network_with_ports(std::uint16_t first, std::uint16_t last) {
    if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
    const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    const bool up = ::ioctl(control, SIOCSIFFLAGS, &request) == 0;
    ::close(control);
    std::ofstream range{"/proc/sys/net/ipv4/ip_local_port_range"};
    return up && static_cast<bool>(range << first << ' ' << last << std::flush);
}

bool deny_splice(int error, int only_from) {
    const auto action = static_cast<std::uint32_t>(
        SECCOMP_RET_ERRNO | (static_cast<unsigned>(error) & SECCOMP_RET_DATA));
    // The low half of a 64-bit argument comes first on a little-endian machine.
    constexpr std::uint32_t low = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 4;
    const auto from = static_cast<std::uint32_t>(only_from);
    const auto any = static_cast<std::uint8_t>(only_from == -1 ? 2 : 0);
    std::array<sock_filter, 6> filter{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_splice, any, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + low),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, from, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool become_unprivileged() {
    constexpr uid_t nobody = 65534;
    if (::geteuid() != 0) return true;
    return ::setresgid(nobody, nobody, nobody) == 0 && ::setresuid(nobody, nobody, nobody) == 0;
}

}  // namespace eplb::test
