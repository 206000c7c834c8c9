#pragma once

#include "config/settings.hpp"
#include "discovery/answer_judge.hpp"
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

/// Judges by a configuration: an answer must not lead back to us, and there must be descriptors for all.
///
/// Knows the addresses of this machine as they were when it was made, which takes time in proportion to
/// the configuration. To judge an answer takes time in proportion to the answer and the places where its
/// name stands; but for one that leads to a listener of ours.
class NameJudge final : public AnswerJudge {
public:
    /// `config`: what resolve() made of `settings`. For so many workers.
    NameJudge(const Settings& settings, const Config& config, std::size_t workers);

    [[nodiscard]] std::optional<std::string> problem_of(
        const NameQuestion& question, const std::vector<NameTarget>& targets) const override;
    void accept(const NameQuestion& question, const std::vector<NameTarget>& targets) override;
    [[nodiscard]] std::size_t checks_of(std::string_view key) const override;
    [[nodiscard]] std::optional<std::string> problem_of(std::size_t descriptors) const override;

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
