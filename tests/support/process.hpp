#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <sys/resource.h>

namespace eplb::test {

/// Open descriptors of this process, from /proc/self/fd.
[[nodiscard]] std::size_t open_descriptors();

/// Counts descriptors when made, and tells how many more there are now.
class DescriptorCheck {
public:
    DescriptorCheck() : before_{open_descriptors()} {}
    [[nodiscard]] long leaked() const {
        return static_cast<long>(open_descriptors()) - static_cast<long>(before_);
    }

private:
    std::size_t before_;
};

/// Lets the process open `spare` more descriptors and then no more (EMFILE), until it is destroyed.
class DescriptorShortage {
public:
    explicit DescriptorShortage(int spare = 0);
    ~DescriptorShortage() { end(); }
    DescriptorShortage(const DescriptorShortage&) = delete;
    DescriptorShortage& operator=(const DescriptorShortage&) = delete;
    void end();

private:
    rlimit saved_{};
};

/// Runs `check` in a forked child, where it may give privileges away, and returns what it returned:
/// 0 for fine; 255 when the child crashed or threw. `check` must not use Catch.
[[nodiscard]] int in_child(const std::function<int()>& check);

/// For in_child(): enters a network of its own with a loopback interface, where connections come from
/// the ports from `first` to `last`, and from no others: TCP then connects to itself who dials one of
/// these at which nobody listens (simultaneous open). Returns false when that cannot be had.
[[nodiscard]] bool enter_network_with_ports(std::uint16_t first, std::uint16_t last);

/// For in_child(): from now on splice(2) fails with `error` (seccomp(2)). When `only_from` is not
/// -1, only out of that descriptor. Returns false when the kernel cannot do that.
[[nodiscard]] bool deny_splice(int error, int only_from = -1);

/// For in_child(): gives up root, and with it the exemption from pipe(7)'s quota.
[[nodiscard]] bool become_unprivileged();

}  // namespace eplb::test
