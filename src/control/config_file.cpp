#include "control/config_file.hpp"

#include "control/config_reader.hpp"
#include "control/config_text.hpp"
#include "control/expand_env.hpp"
#include "control/settings_check.hpp"
#include "control/toml_document.hpp"
#include "eplb/address.hpp"

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace eplb::control {
namespace {

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
    for (const Endpoint& endpoint : service.values.listen) {
        for (const Address& address : look_up(endpoint, diagnostics))
            config.listen.push_back(address);
    }
    for (const Section<BackendValues>& backend : service.backends) {
        const BackendValues& values = backend.values;
        for (const Address& address : look_up(values.address, diagnostics))
            config.backends.push_back({.address = address,
                                       .name = values.name,
                                       .weight = values.weight,
                                       .backup = values.backup,
                                       .max_connections = values.max_connections});
    }
    return config;
}

}  // namespace

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
    return config;
}

}  // namespace eplb::control
