#pragma once

#include "config/settings.hpp"
#include "discovery/name_source.hpp"
#include "eplb/config.hpp"
#include "proxy/service_graph.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace eplb::control {

/// Whether what a name stands for can be used by a configuration. So that each answer is judged for
/// itself, before anything is made of it: what one name says is no affair of the others.
///
/// Knows the addresses of this machine as they were when it was made, which takes time in proportion to
/// the configuration. To judge an answer takes time in proportion to the answer and the places where its
/// name stands; but for one that leads to a listener of ours.
class NameJudge {
public:
    /// `config`: what resolve() made of `settings`. For so many workers.
    NameJudge(const Settings& settings, const Config& config, std::size_t workers);

    /// Why a name cannot have these addresses, beside what others were accepted with, in words that are
    /// safe in a log; nothing: it can.
    [[nodiscard]] std::optional<std::string> problem_of(
        const NameQuestion& question, const std::vector<NameTarget>& targets) const;
    /// It has these from now on.
    void accept(const NameQuestion& question, const std::vector<NameTarget>& targets);

    /// How many descriptors each address of it takes: one for each time that it is checked.
    [[nodiscard]] std::size_t checks_of(std::string_view key) const;
    /// Why all names together cannot have so many descriptors; nothing: they can.
    [[nodiscard]] std::optional<std::string> problem_of(std::size_t descriptors) const;

private:
    // A service has this address for a backend, which is a listener of a service.
    using Step = std::pair<std::size_t, Address>;
    struct Use {
        std::vector<std::pair<std::size_t, std::uint16_t>> places;  // services and ports
        std::size_t checks = 0;
    };

    [[nodiscard]] std::vector<Step> steps_of(const NameQuestion& question,
                                             const std::vector<NameTarget>& targets) const;
    [[nodiscard]] bool may_lead_to_us(const Use& use, const NameQuestion& question,
                                      const std::vector<NameTarget>& targets) const;

    std::unordered_map<std::string, Use> uses_;  // by key
    std::vector<std::string> services_;
    ServiceGraph graph_;                                        // without names
    std::unordered_set<std::uint16_t> ports_;                   // of listeners
    std::unordered_map<std::string, std::vector<Step>> steps_;  // of accepted names
    std::size_t wanted_sessions_;
    std::size_t other_descriptors_ = 0;
};

}  // namespace eplb::control
