#include "config/config_dump.hpp"

#include "config/config_keys.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace eplb::control {
namespace {

std::string one_line(std::string text) {
    std::ranges::replace_if(
        text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return text;
}

std::string describe(const Origin& origin, std::string_view file) {
    switch (origin.kind) {
    case Origin::Kind::flag: return one_line(origin.place.flag);
    case Origin::Kind::file:
        return fmt::format("{}:{}{}", one_line(std::string{file}), origin.place.line,
                           origin.from_defaults ? " [defaults]" : "");
    case Origin::Kind::built_in: break;
    }
    return "default";
}

// What a check does not look at would be read as a mistake, unless it is one.
Section<CheckConfig> without_what_says_nothing(Section<CheckConfig> check) {
    std::erase_if(check.origins, [&](const auto& said) {
        return said.second.from_defaults && !is_used_by(check.values, said.first);
    });
    return check;
}

bool is_worth_saying(const Section<CheckConfig>& check, std::string_view key) {
    if (check.origin_of(key).kind != Origin::Kind::built_in) return true;
    const bool overruled =
        key == "fast_interval" && check.values.fast_interval > check.values.interval;
    return is_used_by(check.values, key) && !overruled;
}

template <class Values>
bool is_worth_saying(const Section<Values>&, std::string_view) {
    return true;
}

template <class Values>
void dump_section(std::string& text, const Section<Values>& section, const KeyTable<Values>& keys,
                  std::string_view file) {
    for (const Key<Values>& key : keys) {
        if (!is_worth_saying(section, key.name)) continue;
        const Origin origin = section.origin_of(key.name);
        // What follows from something else, like a service's name, would be read as a wish.
        if (origin.kind == Origin::Kind::built_in && key.default_value.empty()) continue;
        const std::string assignment = fmt::format("{} = {}", key.name, key.write(section.values));
        text += fmt::format("{:<40} # {}\n", assignment, describe(origin, file));
    }
}

}  // namespace

std::string dump(const Settings& settings, std::string_view file) {
    std::string text;
    dump_section(text, settings.process, process_keys(), file);
    text += "\n[log]\n";
    dump_section(text, settings.log, log_keys(), file);
    text += "\n[dns]\n";
    dump_section(text, settings.dns, dns_keys(), file);
    for (const Service& service : settings.services) {
        text += "\n[[service]]\n";
        dump_section<ServiceValues>(text, service, own_service_keys(), file);
        dump_section<ServiceValues>(text, service, service_keys(), file);
        text += "\n[service.check]\n";
        dump_section(text, without_what_says_nothing(service.check), check_keys(), file);
        for (const Section<BackendValues>& backend : service.backends) {
            text += "\n[[service.backend]]\n";
            dump_section(text, backend, backend_keys(), file);
        }
    }
    return text;
}

}  // namespace eplb::control
