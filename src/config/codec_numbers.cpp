// Durations, sizes, counts, rates.
#include "base/duration.hpp"
#include "base/size.hpp"
#include "config/codec_parts.hpp"

#include <charconv>
#include <cstdint>
#include <fmt/format.h>

namespace eplb::control {
namespace {

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

}  // namespace

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

}  // namespace eplb::control
