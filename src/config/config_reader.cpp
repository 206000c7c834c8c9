#include "config/config_reader.hpp"

#include "base/suggest.hpp"
#include "config/config_keys.hpp"
#include "config/settings_check.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <string_view>
#include <utility>

namespace eplb::control {
namespace {

template <class Values>
std::vector<std::string_view> names_of(const KeyTable<Values>& table) {
    std::vector<std::string_view> names;
    for (const Key<Values>& key : table) names.push_back(key.name);
    return names;
}

// A member that stands for a table, or for tables, and is read by somebody else.
bool is_one_of(std::string_view name, const std::vector<std::string_view>& names) {
    return std::ranges::find(names, name) != names.end();
}

bool is_broken(const Node& node) {
    return node.broken || std::ranges::any_of(node.items, is_broken) ||
           std::ranges::any_of(node.members,
                               [](const Member& member) { return is_broken(member.value); });
}

class Reader {
public:
    explicit Reader(Diagnostics& diagnostics) noexcept : diagnostics_{diagnostics} {}

    Settings run(const Node* file, const Node* flags) {
        Settings settings;
        for (const Node* root : {file, flags}) {
            if (root == nullptr) continue;
            read_root(*root, settings.process);
            if (const Node* const log = find_table(*root, "log"))
                read_table(*log, "[log]", settings.log, log_keys(), {});
            if (const Node* const dns = find_table(*root, "dns"))
                read_table(*dns, "[dns]", settings.dns, dns_keys(), {});
        }
        const Service defaults = read_defaults(file);
        for (const Node* root : {file, flags}) {
            if (root != nullptr) read_services(*root, defaults, settings.services);
        }
        if (file != nullptr && is_missing(*file, "service")) {
            Place top;
            top.line = top.column = 1;
            diagnostics_.error(
                top, R"(no service; add: [[service]] with listen = ":5555", and below it )"
                     R"([[service.backend]] with address = "127.0.0.1:3306")");
        }
        if (flags != nullptr) override_services(*flags, settings.services);
        for (Service& service : settings.services) name_after_listener(service);
        return settings;
    }

private:
    void read_root(const Node& root, Section<ProcessValues>& process) {
        read_table(root, "", process, process_keys(), {"log", "dns", "defaults", "service"});
    }

    Service read_defaults(const Node* file) {
        Service defaults;
        const Node* const table = file != nullptr ? find_table(*file, "defaults") : nullptr;
        if (table == nullptr) return defaults;
        read_table(*table, "[defaults]", defaults, service_keys(), {"check"});
        read_check(*table, "[defaults.check]", defaults.check);
        for (auto& [key, origin] : defaults.origins) origin.from_defaults = true;
        for (auto& [key, origin] : defaults.check.origins) origin.from_defaults = true;
        return defaults;
    }

    void read_services(const Node& root, const Service& defaults, std::vector<Service>& services) {
        KeyTable<ServiceValues> keys = own_service_keys();
        keys.insert(keys.end(), service_keys().begin(), service_keys().end());
        for (const Node& table : find_tables(root, "service", "[[service]]")) {
            Service service = defaults;
            service.place = table.place;
            read_table(table, "[[service]]", service, keys, {"backend", "check"});
            read_check(table, "[service.check]", service.check);
            require(table, "[[service]]", "listen", R"(listen = ":5555")");
            require(table, "[[service]]", "backend",
                    R"([[service.backend]] with address = "127.0.0.1:3306")");
            for (const Node& backend : find_tables(table, "backend", "[[service.backend]]")) {
                Section<BackendValues>& section = service.backends.emplace_back();
                section.place = backend.place;
                read_table(backend, "[[service.backend]]", section, backend_keys(), {});
                require(backend, "[[service.backend]]", "address", R"(address = "127.0.0.1:3306")");
            }
            services.push_back(std::move(service));
        }
    }

    void read_check(const Node& parent, std::string_view header, Section<CheckConfig>& check) {
        const Member* const member = parent.find("check");
        if (member == nullptr) return;
        if (member->value.kind != Node::Kind::table) {
            diagnostics_.error(member->place,
                               fmt::format("\"check\" is a table; write {}", header));
            return;
        }
        check.place = member->value.place;
        read_table(member->value, header, check, check_keys(), {});
    }

    void override_services(const Node& flags, std::vector<Service>& services) {
        const Node* const table = find_table(flags, "defaults");
        if (table == nullptr) return;
        Service nobody;  // what is wrong is wrong without services, too
        if (services.empty()) read_table(*table, "", nobody, service_keys(), {});
        for (Service& service : services) read_table(*table, "", service, service_keys(), {});
    }

    static void name_after_listener(Service& service) {
        if (service.values.config.name.empty() && !service.values.listen.empty())
            service.values.config.name = service.values.listen.front().text;
    }

    template <class Values>
    void read_table(const Node& table, std::string_view header, Section<Values>& section,
                    const KeyTable<Values>& keys, const std::vector<std::string_view>& tables) {
        for (const Member& member : table.members) {
            if (is_one_of(member.key, tables)) continue;
            const auto found = std::ranges::find(keys, member.key, &Key<Values>::name);
            if (found == keys.end()) {
                reject_key(member, header, names_of(keys), tables);
                continue;
            }
            if (is_broken(member.value) ||
                !found->read(member.value, section.values, Complaint{diagnostics_, member.key}))
                continue;
            const Place& place = member.value.place;
            section.origins[member.key] = {
                .kind = place.in_file() ? Origin::Kind::file : Origin::Kind::flag,
                .place = place,
                .from_defaults = false};
        }
    }

    void reject_key(const Member& member, std::string_view header,
                    std::vector<std::string_view> names,
                    const std::vector<std::string_view>& tables) {
        names.insert(names.end(), tables.begin(), tables.end());
        const std::string suggestion = did_you_mean(member.key, names);
        std::string where;
        if (!header.empty()) where = fmt::format(" in {}", header);
        const std::string elsewhere = suggestion.empty() ? belongs_to(member.key) : std::string{};
        diagnostics_.error(member.place, fmt::format("unknown key \"{}\"{}{}{}", member.key, where,
                                                     suggestion, elsewhere));
    }

    // A key in the wrong table is more often a slip than a wrong key.
    static std::string belongs_to(std::string_view key) {
        const auto has = [&](const auto& table) {
            return std::ranges::any_of(table,
                                       [&](const KeyInfo& info) { return info.name == key; });
        };
        if (key == "log" || key == "dns" || key == "defaults")
            return fmt::format("; write [{}]", key);
        if (key == "service") return "; write [[service]]";
        if (key == "check") return "; write [service.check] below its [[service]]";
        if (key == "backend") return "; write [[service.backend]] below its [[service]]";
        if (has(process_keys())) return "; it belongs above all [tables]";
        if (has(log_keys())) return "; it belongs into [log]";
        if (has(dns_keys())) return "; it belongs into [dns]";
        if (has(service_keys())) return "; it belongs into [[service]] or [defaults]";
        if (has(own_service_keys())) return "; it belongs into [[service]]";
        if (has(backend_keys())) return "; it belongs into [[service.backend]]";
        // A port elsewhere is rather meant to be part of an address.
        if (key != "port" && has(check_keys())) return "; it belongs into [service.check]";
        return {};
    }

    // An empty array of tables is none, as an empty list of addresses is for its codec to tell.
    static bool is_missing(const Node& table, std::string_view key) {
        const Member* const member = table.find(key);
        if (member == nullptr) return true;
        return key != "listen" && member->value.kind == Node::Kind::array &&
               member->value.items.empty();
    }

    void require(const Node& table, std::string_view header, std::string_view key,
                 std::string_view example) {
        if (!is_missing(table, key)) return;
        diagnostics_.error(table.place, fmt::format("{} has no {}; add: {}", header, key, example));
    }

    const Node* find_table(const Node& root, std::string_view name) {
        const Member* const member = root.find(name);
        if (member == nullptr) return nullptr;
        if (member->value.kind == Node::Kind::table) return &member->value;
        diagnostics_.error(member->place, fmt::format("\"{0}\" is a table; write [{0}]", name));
        return nullptr;
    }

    // Those of [[name]], which may be none.
    const std::vector<Node>& find_tables(const Node& parent, std::string_view name,
                                         std::string_view header) {
        static const std::vector<Node> none;
        const Member* const member = parent.find(name);
        if (member == nullptr) return none;
        const std::vector<Node>& items = member->value.items;
        const bool fits =
            member->value.kind == Node::Kind::array &&
            std::ranges::all_of(items, [](const Node& n) { return n.kind == Node::Kind::table; });
        if (fits) return items;
        diagnostics_.error(member->place,
                           fmt::format("there may be several of them: write {}", header));
        return none;
    }

    Diagnostics& diagnostics_;
};

}  // namespace

Settings read_settings(const Node* file, const Node* flags, Diagnostics& diagnostics) {
    Settings settings = Reader{diagnostics}.run(file, flags);
    check_settings(settings, diagnostics);
    return settings;
}

}  // namespace eplb::control
