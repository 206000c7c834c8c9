#pragma once

#include "config/document.hpp"
#include "config/settings.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eplb::control {

/// How a key's complaints reach the user: with the key's name before them, unless it was an option,
/// which names itself.
class Complaint {
public:
    Complaint(Diagnostics& diagnostics, std::string_view key) noexcept
        : diagnostics_{diagnostics}, key_{key} {}

    [[nodiscard]] std::string_view key() const noexcept { return key_; }
    /// `problem` alone says what is meant: the key is in it.
    void plain(const Node& at, std::string problem) const {
        diagnostics_.error(at.place, std::move(problem));
    }
    void operator()(const Node& at, std::string_view problem) const;

private:
    Diagnostics& diagnostics_;
    std::string_view key_;
};

/// The way of one type between a configuration's text and its value.
template <class T>
struct Codec {
    /// For people, in a reference: "duration", "`text` or `json`".
    std::string type;
    /// Nothing, after a complaint, if the node is none.
    std::function<std::optional<T>(const Node& node, const Complaint& complain)> read;
    /// As TOML.
    std::function<std::string(const T& value)> write;
};

/// As a basic string of TOML.
[[nodiscard]] std::string quoted(std::string_view text);

/// "expected `wanted`, got a boolean".
[[nodiscard]] std::string unexpected(std::string_view wanted, const Node& node);

struct DurationRange {
    bool may_be_off = true;
    Duration least{1};
    Duration most = Duration::max();
};
[[nodiscard]] Codec<Duration> duration_codec(DurationRange range = {});

/// 0 stands for "auto", where `least` is more.
[[nodiscard]] Codec<std::size_t> size_or_auto_codec(std::uint64_t least, std::uint64_t most);
[[nodiscard]] Codec<std::size_t> count_or_auto_codec(std::uint64_t least, std::uint64_t most);
/// Nothing stands for "auto".
[[nodiscard]] Codec<std::optional<std::size_t>> optional_count_codec(std::uint64_t least,
                                                                     std::uint64_t most);
[[nodiscard]] Codec<std::uint32_t> count_codec(std::uint32_t least, std::uint32_t most);

/// One line of printable characters; `what` says what it is: "a file name".
[[nodiscard]] Codec<std::string> text_codec(const std::string& what);
/// Printable ASCII without blanks and quotes, so that it can stand in a log line.
[[nodiscard]] Codec<std::string> name_codec();

/// An address with a host and a port other than 0, or "srv:" and the name of a service.
[[nodiscard]] Codec<Endpoint> backend_address_codec();
/// One of them, or an array.
[[nodiscard]] Codec<std::vector<Endpoint>> listen_codec();

/// Connections a period, or "off".
[[nodiscard]] Codec<Rate> rate_codec();
[[nodiscard]] Codec<bool> boolean_codec();
/// { idle, interval, count }, or "off".
[[nodiscard]] Codec<Keepalive> keepalive_codec();
/// A name that the system gives, like an interface's; empty stands for `none`.
[[nodiscard]] Codec<std::string> system_name_codec(const std::string& what, const std::string& none,
                                                   std::size_t longest);
/// IP addresses without ports.
[[nodiscard]] Codec<std::vector<Address>> sources_codec();
/// IP addresses of name servers; the port is 53 where none is given.
[[nodiscard]] Codec<std::vector<Address>> name_servers_codec();
/// chmod(1)'s octal digits, as a string; nothing stands for "default".
[[nodiscard]] Codec<std::optional<mode_t>> mode_codec();

/// chown(1)'s "user:group", either of which may be missing; nothing stands for "default".
[[nodiscard]] Codec<UnixOwner> owner_codec();

/// An array of networks, or one.
[[nodiscard]] Codec<std::vector<Cidr>> networks_codec();
/// An array of the words "crc32c", "unique_id" and "authority".
[[nodiscard]] Codec<ProxyTlvConfig> proxy_tlvs_codec();

/// "off", or a Unix socket.
[[nodiscard]] Codec<std::string> unix_socket_codec();

/// The words of `choices` in words: "a, b or c".
[[nodiscard]] std::string listed(const std::vector<std::string_view>& words);
/// Complains that `node` is none of `words`.
void reject_choice(const Node& node, const Complaint& complain,
                   const std::vector<std::string_view>& words);

template <class T>
[[nodiscard]] Codec<T> choice_codec(const std::vector<std::pair<std::string_view, T>>& choices) {
    std::vector<std::string_view> words;
    words.reserve(choices.size());
    std::string type;
    for (const auto& [word, value] : choices) {
        words.push_back(word);
        type += (type.empty() ? "" : " | ") + quoted(word);
    }
    return {
        .type = type,
        .read = [choices, words](const Node& node, const Complaint& complain) -> std::optional<T> {
            for (const auto& [word, value] : choices) {
                if (node.kind == Node::Kind::string && node.text == word) return value;
            }
            reject_choice(node, complain, words);
            return std::nullopt;
        },
        .write =
            [choices](const T& value) {
                for (const auto& [word, candidate] : choices) {
                    if (candidate == value) return quoted(word);
                }
                return quoted("");
            }};
}

}  // namespace eplb::control
