#include "config/config_file.hpp"

#include "base/describe.hpp"
#include "config/config_reader.hpp"
#include "config/config_text.hpp"
#include "config/expand_env.hpp"
#include "config/settings_check.hpp"
#include "config/toml_document.hpp"
#include "eplb/address.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <thread>

namespace eplb::control {
namespace {

constexpr std::uint32_t most_weight = 1'000'000;

std::vector<Address> look_up(const Endpoint& endpoint, Diagnostics& diagnostics) {
    try {
        return Address::resolve(endpoint.text);
    } catch (const std::exception& error) {
        diagnostics.error(endpoint.place, describe(error));
        return {};
    }
}

ServiceConfig resolve(const Service& service, Diagnostics& diagnostics) {
    ServiceConfig config = service.values.config;
    config.check = service.check.values;
    for (const Endpoint& endpoint : service.values.listen) {
        for (const Address& address : look_up(endpoint, diagnostics))
            config.listen.push_back(address);
    }
    return config;
}

// What the targets of a service weigh, whose backend weighs `own`. A weight of 0 in SRV is a small one
// (RFC 2782), but ours takes no connections at all. If the product of two weights is more than ours may
// be, all that compete with it become less, so that each keeps its share.
class ServiceWeights {
public:
    ServiceWeights(std::uint32_t own, const NameAnswer& answer, std::uint16_t first_priority)
        : own_{own}, first_priority_{first_priority} {
        for (const NameTarget& target : answer.targets) {
            std::uint64_t& largest = largest_of(target);
            largest = std::max(largest, product(target));
        }
    }

    [[nodiscard]] std::uint32_t of(const NameTarget& target) {
        const std::uint64_t largest = largest_of(target);
        const std::uint64_t weight = product(target);
        if (largest <= most_weight) return static_cast<std::uint32_t>(weight);
        const std::uint64_t scaled = (weight * most_weight + largest / 2) / largest;
        return static_cast<std::uint32_t>(std::max<std::uint64_t>(scaled, 1));
    }

private:
    [[nodiscard]] std::uint64_t product(const NameTarget& target) const noexcept {
        return std::uint64_t{own_} * std::max<std::uint64_t>(1, target.weight);
    }
    // Those of the first priority compete, and so do all others, who are backups.
    [[nodiscard]] std::uint64_t& largest_of(const NameTarget& target) noexcept {
        return target.priority == first_priority_ ? largest_first_ : largest_later_;
    }

    std::uint32_t own_;
    std::uint16_t first_priority_;
    std::uint64_t largest_first_ = 0;
    std::uint64_t largest_later_ = 0;
};

OnRemove policy_of(OnAbsent wanted) noexcept {
    switch (wanted) {
    case OnAbsent::keep: break;
    case OnAbsent::drain: return OnRemove::drain;
    case OnAbsent::close: return OnRemove::close;
    }
    return OnRemove::keep;
}

Address address_of(const NameTarget& target, const NameQuestion& question) {
    return question.is_service() ? target.address : target.address.with_port(question.port);
}

void add_backends(std::vector<BackendConfig>& backends, const BackendValues& values,
                  const NameQuestion& question, const NameAnswer& answer, OnAbsent on_absent) {
    const std::string& name = values.name.empty() ? question.name : values.name;
    const auto first = std::ranges::min_element(answer.targets, {}, &NameTarget::priority);
    ServiceWeights weights{values.weight, answer, first->priority};
    for (const NameTarget& target : answer.targets) {
        const bool later = target.priority > first->priority;
        backends.push_back({.address = address_of(target, question),
                            .name = name,
                            .weight = question.is_service() ? weights.of(target) : values.weight,
                            .backup = values.backup || later,
                            .max_connections = values.max_connections});
    }
    for (const NameTarget& target : answer.absent) {
        backends.push_back({.address = address_of(target, question),
                            .name = name,
                            .weight = 0,
                            .backup = values.backup,
                            .max_connections = values.max_connections,
                            .absent = policy_of(on_absent)});
    }
}

void complain(const Endpoint& endpoint, const NameQuestion& question, const NameAnswer& answer,
              bool may_be_missing, Diagnostics& diagnostics) {
    const std::string problem = fmt::format("cannot resolve \"{}\" in \"{}\": {}", question.name,
                                            endpoint.text, answer.problem);
    if (answer.status == NameAnswer::Status::unanswered) {
        diagnostics.warning(endpoint.place, problem + "; it gets its backends when it answers");
    } else if (may_be_missing) {
        diagnostics.warning(endpoint.place, problem + "; waiting for it");
    } else {
        diagnostics.error(endpoint.place, problem);
    }
}

}  // namespace

std::vector<std::string> backend_addresses(const Settings& settings) {
    std::vector<std::string> all;
    for (const Service& service : settings.services) {
        for (const Section<BackendValues>& backend : service.backends)
            all.push_back(backend.values.address.text);
    }
    return all;
}

void set_backends(Config& config, const Settings& settings, const NameAnswers& answers,
                  Diagnostics& diagnostics,
                  const std::function<bool(std::string_view key)>& may_be_missing) {
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        std::vector<BackendConfig>& backends = config.services[i].backends;
        backends.clear();
        for (const Section<BackendValues>& backend : settings.services[i].backends) {
            const BackendValues& values = backend.values;
            const std::optional<NameQuestion> question = NameQuestion::parse(values.address.text);
            if (!question) {
                backends.push_back({.address = Address::parse(values.address.text),
                                    .name = values.name,
                                    .weight = values.weight,
                                    .backup = values.backup,
                                    .max_connections = values.max_connections});
                continue;
            }
            const std::string key = question->key();
            const auto answer = answers.find(key);
            if (answer == answers.end()) continue;
            if (answer->second.status == NameAnswer::Status::good) {
                add_backends(backends, values, *question, answer->second,
                             settings.dns.values.on_absent);
            } else {
                const bool may_miss = may_be_missing && may_be_missing(key);
                complain(values.address, *question, answer->second, may_miss, diagnostics);
            }
        }
    }
}

std::vector<std::string> services_without_backends(const Config& config) {
    std::vector<std::string> names;
    for (const ServiceConfig& service : config.services) {
        const bool usable = std::ranges::any_of(
            service.backends, [](const BackendConfig& backend) { return backend.weight > 0; });
        if (!usable) names.push_back(service.name);
    }
    return names;
}

std::string not_ready_text(std::string_view service) {
    return fmt::format("service {} is not ready: it has no backend that takes connections",
                       service);
}

std::string LoadedConfig::report(const ConfigSource& source) const {
    return to_text(diagnostics, source.file ? source.file->string() : "eplb", text);
}

LoadedConfig load_config(const ConfigSource& source) {
    LoadedConfig loaded;
    Node root;
    if (source.file) {
        loaded.text = read_config_text(*source.file);
        root = parse_toml(loaded.text, loaded.diagnostics);
        if (source.expand_env) expand_env(root, process_environment(), loaded.diagnostics);
        // What is wrong with half a document says nothing.
        if (loaded.diagnostics.has_errors() && root.members.empty()) return loaded;
    }
    loaded.settings =
        read_settings(source.file ? &root : nullptr, &source.flags, loaded.diagnostics);
    if (!source.may_lack_backends) warn_of_missing_backends(loaded.settings, loaded.diagnostics);
    return loaded;
}

Config resolve(const Settings& settings, Diagnostics& diagnostics) {
    Config config;
    const ProcessValues& process = settings.process.values;
    // As many as the processors that we may run on (sched_getaffinity(2)).
    config.workers = process.workers.value_or(std::max(1U, std::thread::hardware_concurrency()));
    config.busy_poll = process.busy_poll;
    config.max_connections = process.max_connections;
    for (const Service& service : settings.services)
        config.services.push_back(resolve(service, diagnostics));
    set_backends(config, settings, {}, diagnostics);
    return config;
}

}  // namespace eplb::control
