#include "config/codec.hpp"

#include "base/duration.hpp"
#include "base/size.hpp"
#include "base/suggest.hpp"
#include "discovery/name_source.hpp"
#include "eplb/address.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <stdexcept>

namespace eplb::control {
namespace {

std::string_view name_of(const Node& node) noexcept {
    switch (node.kind) {
    case Node::Kind::string: return "a string";
    case Node::Kind::integer: return "a number";
    case Node::Kind::floating: return "a number with a fraction";
    case Node::Kind::boolean: return "a boolean";
    case Node::Kind::date: return "a date or time";
    case Node::Kind::array: return "an array";
    case Node::Kind::table: return "a table";
    }
    return "something else";
}

bool is_string(const Node& node) noexcept { return node.kind == Node::Kind::string; }

// Runs a parser of src/base, which throws std::invalid_argument.
template <class Parse>
auto parse_or_complain(const Node& node, const Complaint& complain, Parse parse)
    -> std::optional<decltype(parse(node.text))> {
    try {
        return parse(node.text);
    } catch (const std::invalid_argument& error) {
        complain(node, error.what());
        return std::nullopt;
    }
}

// Nothing: it is none. For keys that tell it in their own words, since what is parsed is not what was
// written.
std::optional<Address> address_in(const std::string& text) {
    try {
        return Address::parse(text);
    } catch (const std::invalid_argument&) {
        return std::nullopt;
    }
}

// As parse_duration(), but what it means in a range is decided by the codec.
std::optional<Duration> read_duration(const Node& node, const Complaint& complain,
                                      const DurationRange& range) {
    if (node.kind == Node::Kind::integer) {
        complain(node, fmt::format("a duration needs a unit; did you mean \"{}s\"?",
                                   node.integer > 0 ? node.integer : 5));
        return std::nullopt;
    }
    if (!is_string(node)) {
        complain(node, unexpected("a duration like \"5s\"", node));
        return std::nullopt;
    }
    const auto duration = parse_or_complain(node, complain, parse_duration);
    if (!duration) return std::nullopt;
    if (*duration == Duration{0}) {
        if (range.may_be_off) return duration;
        complain(node, "this cannot be turned off");
    } else if (*duration < range.least) {
        complain(node,
                 fmt::format("{} is shorter than {}", node.text, format_duration(range.least)));
    } else if (*duration > range.most) {
        complain(node, fmt::format("{} is longer than {}", node.text, format_duration(range.most)));
    } else {
        return duration;
    }
    return std::nullopt;
}

std::string number_of(const Node& node) {
    return node.kind == Node::Kind::integer ? fmt::format("{}", node.integer) : quoted(node.text);
}

std::optional<std::uint64_t> to_number(const Node& node) {
    if (node.kind == Node::Kind::integer) {
        if (node.integer < 0) return std::nullopt;
        return static_cast<std::uint64_t>(node.integer);
    }
    if (!is_string(node) || !node.untyped) return std::nullopt;
    std::uint64_t number = 0;
    const char* const end = node.text.data() + node.text.size();
    const auto [rest, error] = std::from_chars(node.text.data(), end, number);
    if (node.text.empty() || error != std::errc{} || rest != end) return std::nullopt;
    return number;
}

// `otherwise`: what else could have been written: ", or auto".
std::optional<std::uint64_t> read_count(const Node& node, const Complaint& complain,
                                        std::uint64_t least, std::uint64_t most,
                                        std::string_view otherwise) {
    const auto number = to_number(node);
    if (number && *number >= least && *number <= most) return number;
    const std::string wanted =
        fmt::format("a whole number from {} to {}{}", least, most, otherwise);
    if (node.kind == Node::Kind::integer || (is_string(node) && node.untyped)) {
        complain(node, fmt::format("{} is not {}", number_of(node), wanted));
    } else {
        complain(node, unexpected(wanted, node));
    }
    return std::nullopt;
}

bool is_auto(const Node& node) noexcept { return is_string(node) && node.text == "auto"; }

bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// Of host:port, which is known to have a number there.
bool ends_with_port_0(std::string_view text) {
    return text.substr(text.rfind(':') + 1).find_first_not_of('0') == std::string_view::npos;
}

// The node's own text as an address; whether it is a host name does not matter yet.
std::optional<Endpoint> read_endpoint(const Node& node, const Complaint& complain,
                                      std::string_view example) {
    if (!is_string(node)) {
        complain(node, unexpected(fmt::format("an address like \"{}\"", example), node));
        return std::nullopt;
    }
    try {
        const std::optional<Address> address = Address::parse_unless_name(node.text);
        const bool names_port_0 =
            address ? !address->is_unix() && address->port() == 0 : ends_with_port_0(node.text);
        if (!names_port_0) return Endpoint{node.text, node.place};
        complain(node,
                 fmt::format("bad address \"{}\": ports are numbers from 1 to 65535", node.text));
    } catch (const std::invalid_argument& error) {
        complain(node, error.what());
    }
    return std::nullopt;
}

// ${LISTENERS} may stand for several.
std::vector<Node> split_at_commas(const Node& node) {
    std::vector<Node> items;
    std::string_view rest = node.text;
    for (;;) {
        const std::size_t comma = rest.find(',');
        items.push_back(node);
        items.back().text = rest.substr(0, comma);
        if (comma == std::string_view::npos) return items;
        rest.remove_prefix(comma + 1);
    }
}

// An array of strings, or one, or one made of ${VARIABLES} with commas in it; nothing, after a
// complaint, if it is something else.
std::optional<std::vector<Node>> strings_of(const Node& node, const Complaint& complain,
                                            std::string_view wanted) {
    if (is_string(node)) return node.untyped ? split_at_commas(node) : std::vector<Node>{node};
    if (node.kind != Node::Kind::array) {
        complain(node, unexpected(wanted, node));
        return std::nullopt;
    }
    bool all_good = true;
    for (const Node& item : node.items) {
        if (is_string(item)) continue;
        complain(item, unexpected(wanted, item));
        all_good = false;
    }
    if (!all_good) return std::nullopt;
    return node.items;
}

// `parse` makes an item of a text, or throws std::invalid_argument.
template <class Item, class Parse>
std::optional<std::vector<Item>> read_list(const Node& node, const Complaint& complain,
                                           std::string_view wanted, Parse parse) {
    const auto items = strings_of(node, complain, wanted);
    if (!items) return std::nullopt;
    std::vector<Item> list;
    for (const Node& item : *items) {
        const auto value = parse_or_complain(item, complain, parse);
        if (value) list.push_back(*value);
    }
    if (list.size() != items->size()) return std::nullopt;
    return list;
}

std::optional<std::vector<Endpoint>> read_endpoints(const Node& node, const Complaint& complain) {
    static constexpr std::string_view example = ":5555";
    std::vector<Node> items;
    if (is_string(node)) {
        items = node.untyped ? split_at_commas(node) : std::vector<Node>{node};
    } else if (node.kind == Node::Kind::array) {
        items = node.items;
    } else {
        complain(node, unexpected(fmt::format("addresses like [\"{}\"]", example), node));
        return std::nullopt;
    }
    if (items.empty()) {
        complain(node, "expected at least one address, got none");
        return std::nullopt;
    }
    std::vector<Endpoint> endpoints;
    bool all_good = true;
    for (const Node& item : items) {
        if (auto endpoint = read_endpoint(item, complain, example)) {
            endpoints.push_back(std::move(*endpoint));
        } else {
            all_good = false;
        }
    }
    if (!all_good) return std::nullopt;
    return endpoints;
}

// Of a name, or of a number, which need not be anybody's.
std::optional<std::uint32_t> id_of(const std::string& text,
                                   std::optional<std::uint32_t> (*look_up)(const char*)) {
    std::uint32_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    if (error == std::errc{} && rest == end && number != UINT32_MAX) return number;
    return look_up(text.c_str());
}

std::optional<std::uint32_t> user_id(const std::string& text) {
    return id_of(text, [](const char* name) -> std::optional<std::uint32_t> {
        const passwd* const user = ::getpwnam(name);
        return user == nullptr ? std::nullopt : std::optional{user->pw_uid};
    });
}

std::optional<std::uint32_t> group_id(const std::string& text) {
    return id_of(text, [](const char* name) -> std::optional<std::uint32_t> {
        const group* const found = ::getgrnam(name);
        return found == nullptr ? std::nullopt : std::optional{found->gr_gid};
    });
}

// To a list of TOML.
void append(std::string& list, const std::string& item) {
    if (!list.empty()) list += ", ";
    list += item;
}

}  // namespace

void Complaint::operator()(const Node& at, std::string_view problem) const {
    diagnostics_.error(
        at.place, at.place.in_file() ? fmt::format("{}: {}", key_, problem) : std::string{problem});
}

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') result += '\\';
        if (is_control(c)) {
            result += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
        } else {
            result += c;
        }
    }
    return result + '"';
}

std::string unexpected(std::string_view wanted, const Node& node) {
    return fmt::format("expected {}, got {}", wanted, name_of(node));
}

Codec<Duration> duration_codec(DurationRange range) {
    return {
        .type = range.may_be_off ? "duration or \"off\"" : "duration",
        .read = [range](const Node& node,
                        const Complaint& complain) { return read_duration(node, complain, range); },
        .write = [](const Duration& value) { return quoted(format_duration(value)); }};
}

Codec<std::size_t> size_or_auto_codec(std::uint64_t least, std::uint64_t most) {
    const auto read = [least, most](const Node& node,
                                    const Complaint& complain) -> std::optional<std::size_t> {
        if (is_auto(node)) return 0;
        if (!is_string(node)) {
            complain(node, unexpected("a size like \"256KiB\"", node));
            return std::nullopt;
        }
        const auto bytes = parse_or_complain(node, complain, parse_size);
        if (!bytes || (*bytes >= least && *bytes <= most)) return bytes;
        complain(node, fmt::format("{} is out of range; from {} to {}", node.text,
                                   format_size(least), format_size(most)));
        return std::nullopt;
    };
    return {.type = fmt::format("size from {} to {}, or \"auto\"", format_size(least),
                                format_size(most)),
            .read = read,
            .write = [](const std::size_t& value) {
                return quoted(value == 0 ? "auto" : format_size(value));
            }};
}

Codec<std::size_t> count_or_auto_codec(std::uint64_t least, std::uint64_t most) {
    const Codec<std::optional<std::size_t>> codec = optional_count_codec(least, most);
    const auto read = [codec](const Node& node,
                              const Complaint& complain) -> std::optional<std::size_t> {
        const auto value = codec.read(node, complain);
        if (!value) return std::nullopt;
        return value->value_or(0);
    };
    return {.type = codec.type, .read = read, .write = [codec](const std::size_t& value) {
                return codec.write(value == 0 ? std::nullopt : std::optional{value});
            }};
}

Codec<std::optional<std::size_t>> optional_count_codec(std::uint64_t least, std::uint64_t most) {
    using Value = std::optional<std::size_t>;
    const auto read = [least, most](const Node& node,
                                    const Complaint& complain) -> std::optional<Value> {
        if (is_auto(node)) return Value{};
        const std::string_view otherwise = node.place.in_file() ? ", or \"auto\"" : ", or auto";
        const auto count = read_count(node, complain, least, most, otherwise);
        if (!count) return std::nullopt;
        return Value{count};
    };
    return {.type = fmt::format("whole number from {} to {}, or \"auto\"", least, most),
            .read = read,
            .write = [](const Value& value) {
                return value ? fmt::format("{}", *value) : quoted("auto");
            }};
}

Codec<std::uint32_t> count_codec(std::uint32_t least, std::uint32_t most) {
    const auto read = [least, most](const Node& node,
                                    const Complaint& complain) -> std::optional<std::uint32_t> {
        const auto count = read_count(node, complain, least, most, "");
        if (!count) return std::nullopt;
        return static_cast<std::uint32_t>(*count);
    };
    return {.type = fmt::format("whole number from {} to {}", least, most),
            .read = read,
            .write = [](const std::uint32_t& value) { return fmt::format("{}", value); }};
}

Codec<std::string> text_codec(const std::string& what) {
    const auto read = [what](const Node& node,
                             const Complaint& complain) -> std::optional<std::string> {
        if (!is_string(node)) {
            complain(node, unexpected(what, node));
        } else if (node.text.empty()) {
            complain(node, fmt::format("expected {}, got nothing", what));
        } else if (std::ranges::any_of(node.text, is_control)) {
            complain(node, fmt::format("expected {}, got control characters", what));
        } else {
            return node.text;
        }
        return std::nullopt;
    };
    return {.type = "string", .read = read, .write = [](const std::string& value) {
                return quoted(value);
            }};
}

Codec<std::string> name_codec() {
    const auto read = [](const Node& node,
                         const Complaint& complain) -> std::optional<std::string> {
        const bool fits =
            is_string(node) && !node.text.empty() &&
            std::ranges::all_of(node.text, [](char c) { return c > ' ' && c != '"' && c < 0x7f; });
        if (fits) return node.text;
        if (is_string(node)) {
            complain(node,
                     "a name is one or more printable ASCII characters without blanks and quotes");
        } else {
            complain(node, unexpected("a name", node));
        }
        return std::nullopt;
    };
    return {.type = "name", .read = read, .write = [](const std::string& value) {
                return quoted(value);
            }};
}

Codec<Endpoint> backend_address_codec() {
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<Endpoint> {
        if (is_string(node) && node.text.starts_with("srv:")) {
            const auto question = parse_or_complain(node, complain, NameQuestion::parse);
            if (!question) return std::nullopt;
            return Endpoint{node.text, node.place};
        }
        auto endpoint = read_endpoint(node, complain, "127.0.0.1:3306");
        if (!endpoint) return std::nullopt;
        const std::optional<Address> address = Address::parse_unless_name(endpoint->text);
        if (!address || !address->is_wildcard()) return endpoint;
        complain(node, fmt::format("\"{}\" names no host; did you mean 127.0.0.1:{}?",
                                   endpoint->text, address->port()));
        return std::nullopt;
    };
    return {.type = "address", .read = read, .write = [](const Endpoint& value) {
                return quoted(value.text);
            }};
}

Codec<std::vector<Endpoint>> listen_codec() {
    return {.type = "address, or array of addresses",
            .read = read_endpoints,
            .write = [](const std::vector<Endpoint>& value) {
                std::string list;
                for (const Endpoint& endpoint : value) append(list, quoted(endpoint.text));
                return fmt::format("[{}]", list);
            }};
}

Codec<Rate> rate_codec() {
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<Rate> {
        if (is_string(node)) {
            return parse_or_complain(node, complain,
                                     [](const std::string& text) { return Rate::parse(text); });
        }
        complain(node, unexpected("a rate like \"100/s\", or \"off\"", node));
        return std::nullopt;
    };
    return {.type = "rate or \"off\"", .read = read, .write = [](const Rate& value) {
                return quoted(value.to_string());
            }};
}

Codec<bool> boolean_codec() {
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<bool> {
        if (node.kind == Node::Kind::boolean) return node.boolean;
        if (is_string(node) && node.untyped && (node.text == "true" || node.text == "false"))
            return node.text == "true";
        complain(node, unexpected("true or false", node));
        return std::nullopt;
    };
    return {.type = "boolean", .read = read, .write = [](const bool& value) {
                return std::string{value ? "true" : "false"};
            }};
}

Codec<Keepalive> keepalive_codec() {
    static const Codec<Duration> time = duration_codec({.may_be_off = false,
                                                        .least = std::chrono::seconds{1},
                                                        .most = std::chrono::seconds{32767}});
    static const Codec<std::uint32_t> count = count_codec(1, 127);
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<Keepalive> {
        Keepalive value;
        if (is_string(node) && node.text == "off") {
            value.idle = Duration{0};
            return value;
        }
        if (node.kind != Node::Kind::table) {
            complain(node, unexpected(R"(a table like { idle = "60s" }, or "off")", node));
            return std::nullopt;
        }
        bool all_good = true;
        const auto take = [&](auto& target, const auto& part) {
            all_good = all_good && part;
            if (part) target = *part;
        };
        for (const Member& member : node.members) {
            if (member.key == "idle") {
                take(value.idle, time.read(member.value, complain));
            } else if (member.key == "interval") {
                take(value.interval, time.read(member.value, complain));
            } else if (member.key == "count") {
                take(value.count, count.read(member.value, complain));
            } else {
                Node key;
                key.place = member.place;
                complain(key, fmt::format("unknown key \"{}\"; use idle, interval or count",
                                          member.key));
                all_good = false;
            }
        }
        if (!all_good) return std::nullopt;
        return value;
    };
    return {.type = "table of idle, interval and count, or \"off\"",
            .read = read,
            .write = [](const Keepalive& value) {
                if (value.idle == Duration{0}) return quoted("off");
                return fmt::format("{{ idle = {}, interval = {}, count = {} }}",
                                   time.write(value.idle), time.write(value.interval), value.count);
            }};
}

Codec<std::string> system_name_codec(const std::string& what, const std::string& none,
                                     std::size_t longest) {
    const auto read = [what, none, longest](
                          const Node& node,
                          const Complaint& complain) -> std::optional<std::string> {
        if (!is_string(node)) {
            complain(node, unexpected(what, node));
        } else if (node.text == none) {
            return std::string{};
        } else if (node.text.empty() || node.text.size() > longest ||
                   std::ranges::any_of(
                       node.text, [](char c) { return is_control(c) || c == '/' || c == ' '; })) {
            complain(node, fmt::format("\"{}\" is not {}", node.text, what));
        } else {
            return node.text;
        }
        return std::nullopt;
    };
    return {
        .type = fmt::format("{}, or {}", what, quoted(none)),
        .read = read,
        .write = [none](const std::string& value) { return quoted(value.empty() ? none : value); }};
}

Codec<std::vector<Address>> sources_codec() {
    using Value = std::vector<Address>;
    const auto parse = [](const std::string& text) {
        const bool v6 = text.find(':') != std::string::npos;
        const auto address = address_in(v6 ? fmt::format("[{}]:0", text) : text + ":0");
        if (address && !address->is_unix() && !address->is_wildcard()) return *address;
        throw std::invalid_argument(
            fmt::format("\"{}\" is not an IP address of this machine, like 10.0.0.1", text));
    };
    const auto read = [parse](const Node& node, const Complaint& complain) -> std::optional<Value> {
        return read_list<Address>(node, complain, "IP addresses like [\"10.0.0.1\"]", parse);
    };
    return {.type = "array of IP addresses", .read = read, .write = [](const Value& value) {
                std::string list;
                for (const Address& address : value) {
                    std::string text = address.to_string();
                    text.resize(text.rfind(':'));
                    if (text.starts_with('[')) text = text.substr(1, text.size() - 2);
                    append(list, quoted(text));
                }
                return fmt::format("[{}]", list);
            }};
}

Codec<std::vector<Address>> name_servers_codec() {
    using Value = std::vector<Address>;
    const auto parse = [](const std::string& text) {
        // Without a port: an IPv4 address has no colon, an IPv6 one two of them and no bracket.
        const bool v6 = !text.starts_with('[') && std::ranges::count(text, ':') > 1;
        const bool has_port = !v6 && text.find(':') != std::string::npos && !text.ends_with(']');
        const std::string host = v6 ? fmt::format("[{}]", text) : text;
        const auto address = address_in(has_port ? host : host + ":53");
        if (address && !address->is_unix() && !address->is_wildcard() && address->port() != 0 &&
            host.find('%') == std::string::npos)
            return *address;
        throw std::invalid_argument(fmt::format(
            "\"{}\" is not the address of a name server; write \"192.0.2.1\" or \"[2001:db8::1]:53\"",
            text));
    };
    const auto read = [parse](const Node& node, const Complaint& complain) {
        return read_list<Address>(node, complain, "addresses of name servers", parse);
    };
    return {.type = "array of IP addresses, with or without port",
            .read = read,
            .write = [](const Value& value) {
                std::string list;
                for (const Address& address : value) append(list, quoted(address.to_string()));
                return fmt::format("[{}]", list);
            }};
}

Codec<std::optional<mode_t>> mode_codec() {
    using Value = std::optional<mode_t>;
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<Value> {
        if (is_string(node) && node.text == "default") return Value{};
        unsigned mode = 0;
        const char* const end = node.text.data() + node.text.size();
        const auto [rest, error] = std::from_chars(node.text.data(), end, mode, 8);
        if (is_string(node) && !node.text.empty() && error == std::errc{} && rest == end &&
            mode <= 0777)
            return Value{mode};
        complain(node, "expected octal digits in quotes, like \"0660\"");
        return std::nullopt;
    };
    return {.type = "octal digits, or \"default\"", .read = read, .write = [](const Value& value) {
                return quoted(value ? fmt::format("{:04o}", *value) : "default");
            }};
}

Codec<UnixOwner> owner_codec() {
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<UnixOwner> {
        if (!is_string(node) || node.text.empty() || node.text == ":") {
            complain(node, unexpected("a user like \"mysql\", or \"user:group\"", node));
            return std::nullopt;
        }
        UnixOwner owner;
        if (node.text == "default") return owner;
        const std::size_t colon = node.text.find(':');
        const std::string user = node.text.substr(0, colon);
        const std::string group =
            colon == std::string::npos ? std::string{} : node.text.substr(colon + 1);
        if (!user.empty()) owner.user = user_id(user);
        if (!user.empty() && !owner.user) {
            complain(node, fmt::format("there is no user {}", quoted(user)));
            return std::nullopt;
        }
        if (!group.empty()) owner.group = group_id(group);
        if (!group.empty() && !owner.group) {
            complain(node, fmt::format("there is no group {}", quoted(group)));
            return std::nullopt;
        }
        return owner;
    };
    const auto write = [](const UnixOwner& owner) {
        std::string text = owner.user ? fmt::format("{}", *owner.user) : std::string{};
        if (owner.group) text += fmt::format(":{}", *owner.group);
        return quoted(text.empty() ? "default" : text);
    };
    return {.type = "user and group, or \"default\"", .read = read, .write = write};
}

Codec<std::vector<Cidr>> networks_codec() {
    using Value = std::vector<Cidr>;
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<Value> {
        return read_list<Cidr>(node, complain, "networks like [\"10.0.0.0/8\"]",
                               [](const std::string& text) { return Cidr::parse(text); });
    };
    return {.type = "array of networks", .read = read, .write = [](const Value& value) {
                std::string list;
                for (const Cidr& network : value) append(list, quoted(network.to_string()));
                return fmt::format("[{}]", list);
            }};
}

Codec<ProxyTlvConfig> proxy_tlvs_codec() {
    using Flag = bool ProxyTlvConfig::*;
    static const std::vector<std::pair<std::string_view, Flag>> words{
        {"crc32c", &ProxyTlvConfig::crc32c},
        {"unique_id", &ProxyTlvConfig::unique_id},
        {"authority", &ProxyTlvConfig::authority}};
    const auto find = [](std::string_view text) {
        const auto found =
            std::ranges::find(words, text, &std::pair<std::string_view, Flag>::first);
        if (found != words.end()) return found->second;
        std::vector<std::string_view> names;
        names.reserve(words.size());
        for (const auto& [name, flag] : words) names.push_back(name);
        const std::string suggestion = did_you_mean(text, names);
        throw std::invalid_argument(
            fmt::format("there is no \"{}\"{}", text,
                        suggestion.empty() ? fmt::format("; use {}", listed(names)) : suggestion));
    };
    const auto read = [find](const Node& node,
                             const Complaint& complain) -> std::optional<ProxyTlvConfig> {
        const auto flags = read_list<Flag>(node, complain, "names like [\"crc32c\"]", find);
        if (!flags) return std::nullopt;
        ProxyTlvConfig value;
        for (const Flag flag : *flags) value.*flag = true;
        return value;
    };
    return {.type = "array of \"crc32c\", \"unique_id\" and \"authority\"",
            .read = read,
            .write = [](const ProxyTlvConfig& value) {
                std::string list;
                for (const auto& [name, flag] : words) {
                    if (value.*flag) append(list, quoted(name));
                }
                return fmt::format("[{}]", list);
            }};
}

Codec<std::string> unix_socket_codec() {
    static constexpr std::string_view example = "unix:/run/eplb/control.sock";
    const auto read = [](const Node& node,
                         const Complaint& complain) -> std::optional<std::string> {
        if (is_string(node) && node.text == "off") return node.text;
        const auto endpoint = read_endpoint(node, complain, example);
        if (!endpoint) return std::nullopt;
        if (endpoint->text.starts_with("unix:")) return endpoint->text;
        complain(node, fmt::format("only a Unix socket, like \"{}\": whoever can connect can "
                                   "reconfigure",
                                   example));
        return std::nullopt;
    };
    return {.type = "Unix socket, or \"off\"", .read = read, .write = [](const std::string& value) {
                return quoted(value);
            }};
}

std::string listed(const std::vector<std::string_view>& words) {
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i)
        text += fmt::format("{}{}", i == 0 ? "" : i + 1 == words.size() ? " or " : ", ", words[i]);
    return text;
}

void reject_choice(const Node& node, const Complaint& complain,
                   const std::vector<std::string_view>& words) {
    if (!is_string(node)) return complain(node, unexpected(listed(words), node));
    const std::string suggestion = did_you_mean(node.text, words);
    std::string problem = fmt::format("unknown {} \"{}\"", complain.key(), node.text);
    problem += suggestion.empty() ? fmt::format("; use {}", listed(words)) : suggestion;
    complain.plain(node, std::move(problem));
}

}  // namespace eplb::control
