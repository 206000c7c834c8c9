#pragma once

#include "config/diagnostics.hpp"
#include "config/settings.hpp"
#include "eplb/config.hpp"

#include <optional>
#include <string>
#include <sys/types.h>
#include <unordered_map>
#include <vector>

namespace eplb::control {

/// The listeners of a process that runs: nobody can try their addresses, and they stay open whatever
/// comes.
class OwnListeners {
public:
    OwnListeners() = default;
    explicit OwnListeners(const Config& running);

    struct Permissions {
        std::optional<mode_t> mode;
        UnixOwner owner;
        friend bool operator==(const Permissions&, const Permissions&) = default;
    };
    /// Nothing: it is none of them.
    [[nodiscard]] const Permissions* find(const Address& address) const;
    /// Another one, because of which `address` cannot be opened before that is closed; or nothing.
    [[nodiscard]] const Address* in_the_way_of(const Address& address) const;

private:
    std::unordered_map<std::string, Permissions> by_address_;
    std::unordered_map<std::uint16_t, std::vector<Address>> by_port_;
};

/// What of a configuration is tried.
enum class KernelCheck : std::uint8_t {
    options,  ///< those of sockets, and where connections come from: takes no address or file
    all,      ///< also whether the listeners can be opened, and the log's file
};

/// Asks the kernel, with sockets that are thrown away at once, whether it will take what `settings`
/// say, of which `config` are the addresses (none are needed for KernelCheck::options). What it refuses
/// is an error at its key; what may come by itself, an interface or an address that is not there, is a
/// warning if `tolerant`. Blocks: it may load modules and look at files.
void check_with_kernel(const Settings& settings, const Config& config, KernelCheck what,
                       const OwnListeners& own, bool tolerant, Diagnostics& diagnostics);

}  // namespace eplb::control
