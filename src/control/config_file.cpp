#include "control/config_file.hpp"

#include "control/config_reader.hpp"
#include "control/config_text.hpp"
#include "control/expand_env.hpp"
#include "control/settings_check.hpp"
#include "control/toml_document.hpp"
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
        diagnostics.error(endpoint.place, error.what());
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

// What a target weighs, whose backend weighs `own`. A weight of 0 in SRV is a small one (RFC 2782),
// but ours takes no connections at all.
std::uint32_t weight_of(std::uint32_t own, std::uint32_t of_target) {
    const std::uint64_t product = std::uint64_t{own} * std::max(1U, of_target);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(product, most_weight));
}

void add_backends(std::vector<BackendConfig>& backends, const BackendValues& values,
                  const NameQuestion& question, const NameAnswer& answer) {
    const auto first = std::ranges::min_element(answer.targets, {}, &NameTarget::priority);
    for (const NameTarget& target : answer.targets) {
        const bool later = target.priority > first->priority;
        backends.push_back({.address = target.address,
                            .name = values.name.empty() ? question.name : values.name,
                            .weight = question.is_service()
                                          ? weight_of(values.weight, target.weight)
                                          : values.weight,
                            .backup = values.backup || later,
                            .max_connections = values.max_connections});
    }
}

void complain(const Endpoint& endpoint, const NameQuestion& question, const NameAnswer& answer,
              Diagnostics& diagnostics) {
    const std::string problem = fmt::format("cannot resolve \"{}\" in \"{}\": {}", question.name,
                                            endpoint.text, answer.problem);
    if (answer.status == NameAnswer::Status::unanswered) {
        diagnostics.warning(endpoint.place, problem + "; it gets its backends when it answers");
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
                  Diagnostics& diagnostics) {
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
            const auto answer = answers.find(values.address.text);
            if (answer == answers.end()) continue;
            if (answer->second.status == NameAnswer::Status::good) {
                add_backends(backends, values, *question, answer->second);
            } else {
                complain(values.address, *question, answer->second, diagnostics);
            }
        }
    }
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
    if (!source.may_lack_backends) require_backends(loaded.settings, loaded.diagnostics);
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
