#include "protocol/host_name.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace eplb {

namespace {

constexpr std::size_t max_label = 63;  // RFC 1035, 2.3.4

constexpr char to_lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr bool may_be_in_a_label(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool is_address(std::string_view text) noexcept {
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size()) return false;
    std::copy(text.begin(), text.end(), terminated.begin());
    // A byte of zero would end it early.
    if (text.find('\0') != std::string_view::npos) return false;
    in6_addr address{};
    const int family = text.find(':') == std::string_view::npos ? AF_INET : AF_INET6;
    return ::inet_pton(family, terminated.data(), &address) == 1;
}

bool is_name(std::string_view text) noexcept {
    std::size_t label = 0;
    for (const char c : text) {
        if (c == '.') {
            if (label == 0) return false;
            label = 0;
        } else if (!may_be_in_a_label(c) || ++label > max_label) {
            return false;
        }
    }
    return label != 0 && text.size() <= max_host_name;
}

}  // namespace

HostName normalize_host_name(std::span<char> text) noexcept {
    std::transform(text.begin(), text.end(), text.begin(), to_lower);
    if (!text.empty() && text.back() == '.') text = text.first(text.size() - 1);
    const std::string_view rest{text.data(), text.size()};
    if (is_address(rest)) return {HostName::Kind::address, rest.size()};
    if (is_name(rest)) return {HostName::Kind::name, rest.size()};
    return {};
}

}  // namespace eplb
