#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"

#include <cstddef>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <unordered_map>
#include <vector>

namespace eplb {
class Reactor;
}

namespace eplb::control {

/// What a file like /etc/hosts says, hosts(5): the addresses of names, without ports.
class Hosts {
public:
    /// A line that makes no sense is left out.
    [[nodiscard]] static Hosts parse(std::string_view text);
    /// Nothing in it, if it cannot be read; of one that is larger than 16 MiB, only what begins there.
    /// May block.
    [[nodiscard]] static Hosts read(const std::string& path);

    /// Empty: it is not in there. Capital letters make no difference, nor does a dot at the end.
    [[nodiscard]] std::vector<Address> find(std::string_view name) const;

private:
    std::unordered_map<std::string, std::vector<Address>> addresses_;
};

/// The same, kept up to date without ever reading it on the reactor's thread: a thread does, for as long
/// as that takes. One on a file system that does not answer holds nobody up.
///
/// Belongs to the thread of its reactor, which outlives it.
class HostsFile {
public:
    HostsFile(Reactor& reactor, std::string path, std::shared_ptr<const Hosts> known);
    ~HostsFile();
    HostsFile(const HostsFile&) = delete;
    HostsFile& operator=(const HostsFile&) = delete;

    /// As it was when it was looked at last.
    [[nodiscard]] const Hosts& known() const noexcept { return *known_; }
    /// Whether that was less than a second ago.
    [[nodiscard]] bool is_fresh() const noexcept;
    /// Has a look at it, if nobody does; `done` is called in a later turn, if there is one that can.
    /// Returns whether somebody looks.
    bool look(std::function<void()> done);

private:
    struct Reading;

    Reactor& reactor_;
    std::string path_;
    std::shared_ptr<const Hosts> known_;
    TimePoint looked_at_;
    std::function<void()> done_;
    std::shared_ptr<Reading> reading_;
};

}  // namespace eplb::control
