#include "config/make_key.hpp"

#include "eplb/health_check.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::control {
namespace {

using namespace std::chrono_literals;
using StatusRange = CheckConfig::StatusRange;

constexpr std::size_t longest_expectation = 4096;
constexpr std::size_t longest_text = 65536;

bool is_string(const Node& node) noexcept { return node.kind == Node::Kind::string; }

// Any bytes, if `allowed` takes each of them.
Codec<std::string> bytes_codec(std::string type, std::size_t longest, std::string_view problem,
                               bool (*allowed)(const std::string& text)) {
    const auto read = [longest, problem, allowed](
                          const Node& node,
                          const Complaint& complain) -> std::optional<std::string> {
        if (!is_string(node)) {
            complain(node, unexpected("a string", node));
        } else if (node.text.size() > longest) {
            complain(node, fmt::format("longer than {} bytes", longest));
        } else if (!allowed(node.text)) {
            complain(node, problem);
        } else {
            return node.text;
        }
        return std::nullopt;
    };
    return {.type = std::move(type), .read = read, .write = [](const std::string& text) {
                return quoted(text);
            }};
}

bool anything(const std::string&) noexcept { return true; }

bool has_no_zero(const std::string& text) noexcept { return text.find('\0') == std::string::npos; }

bool is_word(const std::string& text) noexcept {
    return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

bool is_path(const std::string& text) noexcept { return text.starts_with('/') && is_word(text); }

// "backend", which is nothing, or an address that can be connected to without looking it up.
Codec<std::optional<Address>> other_address_codec() {
    using Value = std::optional<Address>;
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<Value> {
        if (!is_string(node)) {
            complain(node, unexpected("an address like \"10.0.0.1:8008\", or \"backend\"", node));
            return std::nullopt;
        }
        if (node.text == "backend") return Value{};
        try {
            const std::optional<Address> address = Address::parse_unless_name(node.text);
            if (!address) {
                complain(node, fmt::format("\"{}\" is a name; write its address", node.text));
            } else if (!address->is_unix() && (address->port() == 0 || address->is_wildcard())) {
                complain(node, fmt::format("nobody can be asked at \"{}\"", node.text));
            } else {
                return Value{address};
            }
        } catch (const std::invalid_argument& error) {
            complain(node, error.what());
        }
        return std::nullopt;
    };
    return {.type = "address, or \"backend\"", .read = read, .write = [](const Value& value) {
                if (!value) return quoted("backend");
                // Not as for a log, where bytes of a path may be escaped.
                return quoted(value->is_unix() ? "unix:" + value->path() : value->to_string());
            }};
}

Codec<std::optional<std::uint16_t>> other_port_codec() {
    using Value = std::optional<std::uint16_t>;
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<Value> {
        if (is_string(node) && node.text == "backend") return Value{};
        const auto port = count_codec(1, 65535).read(node, complain);
        if (!port) return std::nullopt;
        return Value{static_cast<std::uint16_t>(*port)};
    };
    return {.type = "whole number from 1 to 65535, or \"backend\"",
            .read = read,
            .write = [](const Value& value) {
                return value ? fmt::format("{}", *value) : quoted("backend");
            }};
}

// "200", "200-399".
std::optional<StatusRange> parse_statuses(std::string_view text) {
    const auto number = [](std::string_view digits) -> std::optional<std::uint16_t> {
        std::uint16_t value = 0;
        const char* const end = digits.data() + digits.size();
        const auto [rest, error] = std::from_chars(digits.data(), end, value);
        if (error != std::errc{} || rest != end || value < 100 || value > 599) return std::nullopt;
        return value;
    };
    const std::size_t dash = text.find('-');
    const auto first = number(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
    if (!first || !last || *first > *last) return std::nullopt;
    return StatusRange{*first, *last};
}

std::string to_text(const StatusRange& range) {
    return range.first == range.last ? fmt::format("{}", range.first)
                                     : fmt::format("{}-{}", range.first, range.last);
}

Codec<std::vector<StatusRange>> statuses_codec() {
    using Value = std::vector<StatusRange>;
    const auto read = [](const Node& node, const Complaint& complain) -> std::optional<Value> {
        static constexpr std::string_view wanted =
            "expected HTTP statuses like 200, \"200-399\" or [\"200-299\", 401]";
        const bool several = node.kind == Node::Kind::array;
        Value ranges;
        for (const Node& item : several ? node.items : std::vector<Node>{node}) {
            const bool number = item.kind == Node::Kind::integer;
            const auto range = number            ? parse_statuses(fmt::format("{}", item.integer))
                               : is_string(item) ? parse_statuses(item.text)
                                                 : std::nullopt;
            if (!range) {
                complain(item, wanted);
                return std::nullopt;
            }
            ranges.push_back(*range);
        }
        if (!ranges.empty()) return ranges;
        complain(node, wanted);
        return std::nullopt;
    };
    const auto write = [](const Value& ranges) {
        if (ranges.size() == 1) return quoted(to_text(ranges.front()));
        std::string list;
        for (const StatusRange& range : ranges) {
            if (!list.empty()) list += ", ";
            list += quoted(to_text(range));
        }
        return fmt::format("[{}]", list);
    };
    return {.type = "statuses of HTTP", .read = read, .write = write};
}

template <class Values>
Key<Values> secret(Key<Values> key) {
    key.secret = true;
    return key;
}

KeyTable<CheckConfig> make_check_keys() {
    using V = CheckConfig;
    using Type = CheckConfig::Type;
    return {
        key<V>(
            "type",
            choice_codec<Type>({{"none", Type::none},
                                {"tcp", Type::tcp},
                                {"send_expect", Type::send_expect},
                                {"mysql", Type::mysql},
                                {"postgres", Type::postgres},
                                {"redis", Type::redis},
                                {"http", Type::http}}),
            [](auto& v) -> auto& { return v.type; }, "",
            "What proves that a backend works. `tcp`: that a connection stands; MySQL may count each of "
            "these as a mistake, and then refuses us in the end, and PostgreSQL logs them. `send_expect`: "
            "that it answers `send` with `expect`. `mysql`: that `user`, who needs no rights and may "
            "have no password, can log in; without a user, that an anonymous one is turned away, "
            "which MariaDB logs each time. `postgres`: that it lets `user` begin to log in; without a "
            "user, that it answers at all. `redis`: that it answers PING, behind AUTH if there is a "
            "`password`. `http`: the `status` of GET `path`."),
        key<V>(
            "interval", duration_codec({.may_be_off = false, .least = 10ms}),
            [](auto& v) -> auto& { return v.interval; }, "",
            "From the start of one check to that of the next, give or take a tenth. The first one "
            "comes at once, and decides by itself."),
        key<V>(
            "fast_interval", duration_codec({.may_be_off = false, .least = 10ms}),
            [](auto& v) -> auto& { return v.fast_interval; }, "",
            "The same, while the latest results contradict the state and are not enough to change "
            "it."),
        key<V>(
            "timeout", duration_codec({.may_be_off = false, .least = 10ms}),
            [](auto& v) -> auto& { return v.timeout; }, "",
            "For a whole check, from the connection to the answer."),
        key<V>(
            "rise", count_codec(1, 1000), [](auto& v) -> auto& { return v.rise; }, "",
            "Good results in a row that make a backend that is down up."),
        key<V>(
            "fall", count_codec(1, 1000), [](auto& v) -> auto& { return v.fall; }, "",
            "Bad ones that make one that is up down. A backend that comes by a reload or a name gets "
            "no clients before its first check, unless no other one is usable; one that had left and "
            "returns before so many checks would have been made is what it was, up or down."),
        key<V>(
            "address", other_address_codec(), [](auto& v) -> auto& { return v.address; }, "",
            "Who is asked instead of the backend: an IP address with a port, or a Unix socket."),
        key<V>(
            "port", other_port_codec(), [](auto& v) -> auto& { return v.port; }, "",
            "Another port of the backend that is asked, like Patroni's 8008."),
        key<V>(
            "send", bytes_codec("string", longest_text, "", anything),
            [](auto& v) -> auto& { return v.send; }, "",
            "`send_expect`: what is sent, like `\"PING\\r\\n\"`."),
        key<V>(
            "expect", bytes_codec("string", longest_expectation, "", anything),
            [](auto& v) -> auto& { return v.expect; }, "",
            "`send_expect`: what has to be among the first 4 KiB of the answer. If it is empty, "
            "nothing has to come."),
        key<V>(
            "user", bytes_codec("string", 255, "a user's name has no zero byte", has_no_zero),
            [](auto& v) -> auto& { return v.user; }, "",
            "`mysql`, `postgres`; `redis`, with a password."),
        key<V>(
            "database",
            bytes_codec("string", 255, "a database's name has no zero byte", has_no_zero),
            [](auto& v) -> auto& { return v.database; }, "",
            "`postgres`. The default is the user's name."),
        secret(key<V>(
            "password", bytes_codec("string", longest_text, "", anything),
            [](auto& v) -> auto& { return v.password; }, "",
            "`redis`. It is sent as it is, and shown by `-T`.")),
        key<V>(
            "path",
            bytes_codec("path", longest_text,
                        "expected a path like \"/health\", of printable ASCII without blanks",
                        is_path),
            [](auto& v) -> auto& { return v.path; }, "", "`http`."),
        key<V>(
            "host",
            bytes_codec("string", 255, "expected a host name, of printable ASCII without blanks",
                        is_word),
            [](auto& v) -> auto& { return v.host; }, "",
            "`http`: for the Host header. The default is the address that is asked."),
        key<V>(
            "status", statuses_codec(), [](auto& v) -> auto& { return v.statuses; }, "",
            "`http`: the statuses that are well, like `200`, `\"200-399\"` or `[\"200-299\", 401]`."),
    };
}

}  // namespace

bool is_used_by(const CheckConfig& check, std::string_view key) noexcept {
    const auto is = [&](CheckConfig::Type type) { return check.type == type; };
    using enum CheckConfig::Type;
    if (key == "type") return true;
    if (key == "send" || key == "expect") return is(send_expect);
    if (key == "user") return is(mysql) || is(postgres) || is(redis);
    if (key == "database") return is(postgres);
    if (key == "password") return is(redis);
    if (key == "path" || key == "host" || key == "status") return is(http);
    return !is(none);
}

const KeyTable<CheckConfig>& check_keys() {
    static const KeyTable<CheckConfig> table = make_check_keys();
    return table;
}

}  // namespace eplb::control
