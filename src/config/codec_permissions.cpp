// Who may use a file: its mode and its owner.
#include "config/codec_parts.hpp"

#include <charconv>
#include <cstdint>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

namespace eplb::control {
namespace {

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

}  // namespace

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

}  // namespace eplb::control
