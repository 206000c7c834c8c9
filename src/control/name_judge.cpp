#include "control/name_judge.hpp"

#include "proxy/limits.hpp"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <sys/socket.h>

namespace eplb::control {

NameJudge::NameJudge(const Settings& settings, const Config& config, std::size_t workers)
    : wanted_sessions_{config.max_connections},
      other_descriptors_{descriptors_besides_sessions(config, workers)} {
    for (std::size_t i = 0; i < settings.services.size(); ++i) {
        const Service& service = settings.services[i];
        const bool checked = service.check.values.type != CheckConfig::Type::none;
        for (const Section<BackendValues>& backend : service.backends) {
            const auto question = NameQuestion::parse(backend.values.address.text);
            if (!question) continue;
            Use& use = uses_[question->key()];
            use.checks += checked ? 1 : 0;
            use.places.emplace_back(i, question->port);
        }
    }
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        services_.push_back(config.services[i].name);
        for (std::size_t n = 0; n < config.services[i].listen.size(); ++n) {
            const Address& listener = config.services[i].listen[n];
            graph_.add_listener(i, listener, n);
            if (!listener.is_unix()) ports_.insert(listener.port());
        }
    }
    // Now, on a thread that has the time.
    graph_.learn_own_addresses();
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        for (const BackendConfig& backend : config.services[i].backends)
            graph_.add_backend(i, backend.address, 0);
    }
}

std::optional<std::string> NameJudge::problem_of(const NameQuestion& question,
                                                 const std::vector<NameTarget>& targets) const {
    for (const NameTarget& target : targets) {
        if (target.address.is_wildcard()) {
            return fmt::format("{} is the address of no server",
                               target.address.family() == AF_INET ? "0.0.0.0" : "::");
        }
        if (question.is_service() && target.address.port() == 0)
            return fmt::format("{} has no port", target.address.to_string());
    }
    const auto use = uses_.find(question.key());
    if (use == uses_.end() || !may_lead_to_us(use->second, question, targets)) return std::nullopt;
    const std::vector<Step> steps = steps_of(question, targets);
    if (steps.empty()) return std::nullopt;
    ServiceGraph graph = graph_;
    for (const auto& [service, address] : steps) graph.add_backend(service, address, 0);
    for (const auto& [key, others] : steps_) {
        if (key == use->first) continue;
        for (const auto& [service, address] : others) graph.add_backend(service, address, 0);
    }
    const auto loops = graph.find_loops(1);
    if (loops.empty()) return std::nullopt;
    return fmt::format(
        "{} is our own listener, and connections would go round: {}",
        steps.front().second.to_string(),
        to_text(loops.front(), [&](std::size_t service) { return services_[service]; }));
}

void NameJudge::accept(const NameQuestion& question, const std::vector<NameTarget>& targets) {
    const std::string key = question.key();
    steps_.erase(key);
    const auto use = uses_.find(key);
    if (use == uses_.end() || !may_lead_to_us(use->second, question, targets)) return;
    std::vector<Step> steps = steps_of(question, targets);
    if (!steps.empty()) steps_[key] = std::move(steps);
}

std::vector<NameJudge::Step> NameJudge::steps_of(const NameQuestion& question,
                                                 const std::vector<NameTarget>& targets) const {
    std::vector<Step> steps;
    for (const auto& [service, port] : uses_.at(question.key()).places) {
        for (const NameTarget& target : targets) {
            const Address address =
                question.is_service() ? target.address : target.address.with_port(port);
            if (graph_.is_reached_by(address)) steps.emplace_back(service, address);
        }
    }
    return steps;
}

// Mostly not, and that is quick to see.
bool NameJudge::may_lead_to_us(const Use& use, const NameQuestion& question,
                               const std::vector<NameTarget>& targets) const {
    if (question.is_service()) {
        return std::ranges::any_of(targets, [&](const NameTarget& target) {
            return ports_.contains(target.address.port());
        });
    }
    return std::ranges::any_of(use.places,
                               [&](const auto& place) { return ports_.contains(place.second); });
}

std::size_t NameJudge::checks_of(std::string_view key) const {
    const auto use = uses_.find(std::string{key});
    return use == uses_.end() ? 0 : use->second.checks;
}

std::optional<std::string> NameJudge::problem_of(std::size_t descriptors) const {
    try {
        static_cast<void>(work_out_limits(descriptor_limit(), wanted_sessions_,
                                          other_descriptors_ + descriptors));
        return std::nullopt;
    } catch (const std::exception& error) {
        return fmt::format("its addresses are more than can be checked: {}", error.what());
    }
}

}  // namespace eplb::control
