// Words of which there are a few: choices, booleans, TLVs of the PROXY protocol.
#include "base/suggest.hpp"
#include "config/codec_parts.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>
#include <utility>

namespace eplb::control {

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

}  // namespace eplb::control
