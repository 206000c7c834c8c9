// TCP keepalive: a table of three.
#include "config/codec_parts.hpp"

#include <chrono>
#include <cstdint>
#include <fmt/format.h>

namespace eplb::control {

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

}  // namespace eplb::control
