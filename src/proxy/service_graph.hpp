#pragma once

#include "eplb/address.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace eplb {

/// Which services of a configuration lead to which: a backend may be a listener of another service.
/// That is fine as long as no connection comes back to where it was: it would go round until
/// descriptors run out.
///
/// Services are numbers from 0, as the caller counts. All of it takes time in proportion to what was
/// added: whoever writes a configuration may mean us harm.
class ServiceGraph {
public:
    /// From a service through one of its backends, which is `listener`, to the service of that.
    struct Step {
        std::size_t service = 0;
        std::size_t backend = 0;   ///< as add_backend() was told
        std::size_t listener = 0;  ///< as add_listener() was told
        std::size_t next = 0;
    };
    /// The last step is the one that comes back to the service of the first.
    using Loop = std::vector<Step>;

    /// `id` is the caller's, for Step.
    void add_listener(std::size_t service, const Address& address, std::size_t id);
    /// Once all listeners are there. Asks the kernel for the addresses of this machine, once, and only
    /// if a listener with the port takes all of them. Returns whether it leads to one of the services.
    bool add_backend(std::size_t service, const Address& address, std::size_t id);

    /// Asks the kernel for the addresses of this machine now, if a listener takes all of them.
    void learn_own_addresses();
    /// Whether add_backend() would say that it leads to one of the services. After
    /// learn_own_addresses(); asks nobody.
    [[nodiscard]] bool is_reached_by(const Address& address) const;

    /// A loop for each step that closes one; at most `most`. None: no connection comes back.
    [[nodiscard]] std::vector<Loop> find_loops(std::size_t most = 50) const;

private:
    struct Listener {
        std::size_t service = 0;
        std::size_t id = 0;
    };
    struct Wildcards {
        std::optional<Listener> v4;
        std::optional<Listener> v6;  // takes IPv4 as well
    };

    struct Taker {
        const Listener* listener = nullptr;
        bool takes_all = false;  // addresses of this machine, and maybe the target is none
    };

    [[nodiscard]] Taker taker_of(const Address& target) const;
    [[nodiscard]] bool is_here(const Address& target) const;

    std::unordered_map<std::string, Listener> by_address_;
    std::unordered_map<std::uint16_t, Wildcards> by_port_;
    std::optional<std::unordered_set<std::string>> own_addresses_;
    std::vector<std::vector<Step>> steps_;  // by service
};

/// For people: "a -> b -> a"; what is long is cut short in its middle. `name_of` says what a service is
/// called.
template <class NameOf>
[[nodiscard]] std::string to_text(const ServiceGraph::Loop& loop, NameOf name_of) {
    static constexpr std::size_t shown = 8;
    std::string text;
    for (std::size_t i = 0; i < loop.size(); ++i) {
        if (i == shown / 2 && loop.size() > shown) {
            i = loop.size() - shown / 2;
            text += "... -> ";
        }
        text += name_of(loop[i].service);
        text += " -> ";
    }
    return text += name_of(loop.front().service);
}

}  // namespace eplb
