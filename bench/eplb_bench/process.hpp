#pragma once

#include "eplb/clock.hpp"
#include "eplb/fd.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace eplb::bench {

/// A program and its arguments; the first one is looked up in PATH if it has no slash.
using Command = std::vector<std::string>;

struct ChildOptions {
    /// The only processor that it may run on.
    std::optional<int> cpu{};
    /// Where its standard error goes; empty: where ours goes.
    std::filesystem::path errors{};
    /// Given to it as descriptor 3.
    int pass = -1;
};

/// A program that was started, in a process group of its own, so that a Ctrl-C on the terminal does
/// not reach it and its own children can be stopped with it. It gets the whole hard limit of
/// descriptors, and SIGTERM from the kernel should this process die. Its standard input and output
/// are pipes to us. The destructor kills it.
class Child {
public:
    /// Throws std::system_error when it cannot be started. A program that does not exist exits with
    /// 127 and says so in `errors`.
    explicit Child(const Command& command, const ChildOptions& options = {});
    ~Child() { kill(); }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    /// It and its children, such as the worker of nginx.
    [[nodiscard]] std::vector<pid_t> family() const;

    /// The next line that it writes, without the newline; nothing when it ended, the deadline came,
    /// or the user interrupted.
    [[nodiscard]] std::optional<std::string> read_line(TimePoint deadline);
    /// Everything that it writes until it closes its output.
    [[nodiscard]] std::string read_all(TimePoint deadline);
    void close_input() noexcept { input_.reset(); }

    /// False once it has ended; does not wait.
    [[nodiscard]] bool running();
    /// "exit code 1" or "killed by signal 9", once it has ended.
    [[nodiscard]] std::string how_it_ended() const;
    [[nodiscard]] bool succeeded() const noexcept { return status_ == 0; }
    /// Waits for it; false if it still runs at the deadline.
    [[nodiscard]] bool wait(TimePoint deadline);
    /// The same, for a short task that has to be done after Ctrl-C too.
    [[nodiscard]] bool wait_even_if_interrupted(TimePoint deadline);
    /// Kills its group and reaps everybody in it. Harmless when it has ended.
    void kill() noexcept;

private:
    [[nodiscard]] bool read_some(TimePoint deadline);

    pid_t pid_ = -1;
    Fd input_;
    Fd output_;
    std::string unread_;
    std::optional<int> status_;
    bool group_reaped_ = false;
};

/// Makes orphans of our children ours, so that kill() can wait for all of a group.
void adopt_orphans() noexcept;

/// Raises the soft limit of descriptors to the hard one, and returns it.
std::size_t raise_descriptor_limit() noexcept;

/// What a short-lived command writes to standard output and error, or nothing if it fails or takes
/// longer than `limit`.
[[nodiscard]] std::optional<std::string> output_of(const Command& command, Duration limit);

}  // namespace eplb::bench
