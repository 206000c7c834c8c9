#pragma once

#include "eplb/address.hpp"
#include "eplb/clock.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::control {

/// What there is to ask the DNS for a backend's address that names no address.
struct NameQuestion {
    std::string name;        ///< "db.example", or "_mysql._tcp.example"
    std::uint16_t port = 0;  ///< 0: the answer says (SRV)

    [[nodiscard]] bool is_service() const noexcept { return port == 0; }
    /// What is the same for all questions that have one answer: a host's name, whatever the port, or a
    /// service's, in lower case. "db.example", "srv:_mysql._tcp.example"
    [[nodiscard]] std::string key() const;

    /// Reads "db.example:3306" or "srv:_mysql._tcp.example". Nothing: it is an address already. Throws
    /// std::invalid_argument as Address::parse() does.
    [[nodiscard]] static std::optional<NameQuestion> parse(std::string_view text);
};

/// One SRV record, RFC 2782.
struct ServiceRecord {
    std::string host;
    std::uint16_t port = 0;
    std::uint16_t priority = 0;
    std::uint16_t weight = 0;
};

/// A host whose addresses, or those of one kind, could not be asked for; and what it has them for.
struct Unanswered {
    std::string host;
    std::uint16_t port = 0;
    std::uint16_t priority = 0;
    std::uint16_t weight = 0;
    int family = 0;  ///< AF_INET or AF_INET6: only these are unknown; 0: all
};

/// An address that a name stands for.
struct NameTarget {
    Address address;
    std::uint16_t priority = 0;  ///< as SRV has it: the lowest comes first
    std::uint16_t weight = 0;    ///< as SRV has it: 0 is "small"
    std::string host;            ///< whose address it is

    /// Whether it means the same to a balancer.
    friend bool operator==(const NameTarget& a, const NameTarget& b) noexcept {
        return a.address == b.address && a.priority == b.priority && a.weight == b.weight;
    }
};

struct NameAnswer {
    enum class Status : std::uint8_t {
        good,          ///< there are targets
        no_such_name,  ///< NXDOMAIN
        no_data,       ///< the name is there, but has no address
        unanswered,    ///< nobody could be asked, or knew
        unusable,      ///< what it says cannot be used here
    };
    Status status = Status::unanswered;
    std::string problem;  ///< why it is not good, in words that are safe in a log
    Duration ttl{0};      ///< of what it is made of, the shortest
    /// In an order of their own, whichever order they came in; no address twice.
    std::vector<NameTarget> targets;
    /// What could not be asked for beside the targets. `problem` says why.
    std::vector<Unanswered> unanswered;
    /// What was among the targets before and is not now; the one that has been missing for longest
    /// first. A source does not say; Names does.
    std::vector<NameTarget> absent;
};

/// Puts targets into their order, and leaves of each address the one that is to be preferred.
void arrange(std::vector<NameTarget>& targets);

/// Whoever can be asked for names. Belongs to the thread of its reactor.
class NameSource {
public:
    using Done = std::function<void(const NameAnswer&)>;

    virtual ~NameSource() = default;
    /// `done` is called in a later turn, once, in bounded time; unless the source is destroyed before,
    /// which may happen inside of it.
    virtual void ask(const NameQuestion& question, Done done) = 0;
};

}  // namespace eplb::control
