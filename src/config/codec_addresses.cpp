// Addresses of all kinds, and networks.
#include "config/codec_parts.hpp"
#include "discovery/name_source.hpp"
#include "eplb/address.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>
#include <utility>

namespace eplb::control {
namespace {

// Nothing: it is none. For keys that tell it in their own words, since what is parsed is not what was
// written.
std::optional<Address> address_in(const std::string& text) {
    try {
        return Address::parse(text);
    } catch (const std::invalid_argument&) {
        return std::nullopt;
    }
}

// Of host:port, which is known to have a number there.
bool ends_with_port_0(std::string_view text) {
    return text.substr(text.rfind(':') + 1).find_first_not_of('0') == std::string_view::npos;
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

}  // namespace

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

}  // namespace eplb::control
