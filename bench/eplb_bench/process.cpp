#include "process.hpp"

#include "interrupt.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace eplb::bench {
namespace {

using namespace std::chrono_literals;

struct Pipe {
    Fd reader;
    Fd writer;
};

Pipe make_pipe() {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw fmt::system_error(errno, "cannot make a pipe");
    return {Fd{ends[0]}, Fd{ends[1]}};
}

// Between fork and exec, so nothing but system calls; what fails here ends the child.
[[noreturn]] void become(char* const* argv, const ChildOptions& options, int input, int output,
                         int errors, pid_t parent) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);  // it died before it could be noticed
    if (options.cpu) {
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(static_cast<std::size_t>(*options.cpu), &only);
        ::sched_setaffinity(0, sizeof only, &only);
    }
    std::signal(SIGPIPE, SIG_DFL);
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    // All of these are above 3 or already in place: dup2 of a descriptor to itself would keep
    // close-on-exec.
    ::dup2(input, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    if (errors >= 0) ::dup2(errors, STDERR_FILENO);
    if (options.pass == 3) ::fcntl(3, F_SETFD, 0);
    if (options.pass > 3) ::dup2(options.pass, 3);
    ::execvp(argv[0], argv);
    ::dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], std::strerror(errno));
    ::_exit(127);
}

int milliseconds_until(TimePoint deadline) {
    const auto left = deadline - std::chrono::steady_clock::now();
    return static_cast<int>(std::clamp<std::int64_t>(
        std::chrono::ceil<std::chrono::milliseconds>(left).count(), 0, 3'600'000));
}

}  // namespace

Child::Child(const Command& command, const ChildOptions& options) {
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    Pipe input = make_pipe();
    Pipe output = make_pipe();
    Fd errors;
    if (!options.errors.empty()) {
        errors = Fd{::open(options.errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
        if (!errors.valid())
            throw fmt::system_error(errno, "cannot write {}", options.errors.string());
    }
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw fmt::system_error(errno, "cannot start {}", command.front());
    if (pid_ == 0) {
        become(argv.data(), options, input.reader.get(), output.writer.get(), errors.get(), parent);
    }
    ::setpgid(pid_, pid_);  // either of us comes first
    input_ = std::move(input.writer);
    output_ = std::move(output.reader);
}

std::vector<pid_t> Child::family() const {
    std::vector<pid_t> pids{pid_};
    std::ifstream children{fmt::format("/proc/{0}/task/{0}/children", pid_)};
    for (pid_t child = 0; children >> child;) pids.push_back(child);
    return pids;
}

bool Child::read_some(TimePoint deadline) {
    pollfd waiting{.fd = output_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, milliseconds_until(deadline));
    if (ready < 0 && errno == EINTR) return !interrupted();
    if (ready <= 0) return false;
    std::array<char, 4096> buffer;
    const auto got = ::read(output_.get(), buffer.data(), buffer.size());
    if (got <= 0) return false;
    unread_.append(buffer.data(), static_cast<std::size_t>(got));
    return true;
}

std::optional<std::string> Child::read_line(TimePoint deadline) {
    std::size_t end = 0;
    while ((end = unread_.find('\n')) == std::string::npos) {
        if (!read_some(deadline)) return std::nullopt;
    }
    std::string line = unread_.substr(0, end);
    unread_.erase(0, end + 1);
    return line;
}

std::string Child::read_all(TimePoint deadline) {
    while (read_some(deadline)) continue;
    return std::exchange(unread_, {});
}

bool Child::running() {
    if (status_) return false;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
    status_ = status;
    return false;
}

std::string Child::how_it_ended() const {
    if (!status_) return "still running";
    if (WIFSIGNALED(*status_)) return fmt::format("killed by signal {}", WTERMSIG(*status_));
    return fmt::format("exit code {}", WEXITSTATUS(*status_));
}

bool Child::wait(TimePoint deadline) {
    while (running()) {
        if (std::chrono::steady_clock::now() >= deadline || interrupted()) return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

bool Child::wait_even_if_interrupted(TimePoint deadline) {
    while (running()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

void Child::kill() noexcept {
    if (pid_ <= 0 || group_reaped_) return;
    ::kill(-pid_, SIGKILL);
    int status = 0;
    pid_t reaped = 0;
    while ((reaped = ::waitpid(-pid_, &status, 0)) > 0 || (reaped < 0 && errno == EINTR)) {
        if (reaped == pid_) status_ = status;
    }
    group_reaped_ = true;
}

void adopt_orphans() noexcept { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

std::size_t raise_descriptor_limit() noexcept {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

std::optional<std::string> output_of(const Command& command, Duration limit) {
    Command through_shell{"/bin/sh", "-c", "exec \"$0\" \"$@\" 2>&1"};
    through_shell.insert(through_shell.end(), command.begin(), command.end());
    Child child{through_shell};
    const TimePoint deadline = std::chrono::steady_clock::now() + limit;
    std::string output = child.read_all(deadline);
    if (!child.wait(deadline) || !child.succeeded()) return std::nullopt;
    return output;
}

}  // namespace eplb::bench
