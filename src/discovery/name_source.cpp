#include "discovery/name_source.hpp"

#include <algorithm>
#include <charconv>
#include <compare>
#include <fmt/format.h>
#include <netinet/in.h>
#include <stdexcept>
#include <tuple>

namespace eplb::control {
namespace {

constexpr std::string_view service_prefix = "srv:";
constexpr std::size_t most_name_bytes = 253;
constexpr std::size_t most_label_bytes = 63;

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_label(std::string_view label) {
    return !label.empty() && label.size() <= most_label_bytes &&
           std::ranges::all_of(label, [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_';
           });
}

void check_service_name(std::string_view text, std::string_view name) {
    std::string_view rest = name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
    bool good = rest.size() <= most_name_bytes;
    for (;;) {
        const std::size_t dot = rest.find('.');
        good = good && is_label(rest.substr(0, dot));
        if (dot == std::string_view::npos) break;
        rest.remove_prefix(dot + 1);
    }
    if (good) return;
    throw std::invalid_argument(
        fmt::format("bad address \"{}\": \"{}\" is not the name of a service; write "
                    "srv:_mysql._tcp.example",
                    text, name));
}

// The bytes of an address, as a text that sorts.
std::string sort_key(const Address& address) {
    sockaddr_storage raw{};
    static_cast<void>(address.to_sockaddr(raw));
    if (address.family() == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(raw);
        return {reinterpret_cast<const char*>(&v4.sin_addr), sizeof v4.sin_addr};
    }
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(raw);
    return {reinterpret_cast<const char*>(&v6.sin6_addr), sizeof v6.sin6_addr};
}

}  // namespace

std::optional<NameQuestion> NameQuestion::parse(std::string_view text) {
    // "srv:3306" is a host called srv.
    if (text.starts_with(service_prefix) && !is_number(text.substr(service_prefix.size()))) {
        const std::string_view name = text.substr(service_prefix.size());
        check_service_name(text, name);
        return NameQuestion{std::string{name}, 0};
    }
    if (Address::parse_unless_name(text)) return std::nullopt;
    const std::size_t colon = text.rfind(':');
    NameQuestion question{std::string{text.substr(0, colon)}, 0};
    const std::string_view digits = text.substr(colon + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), question.port);
    if (question.port == 0) {
        throw std::invalid_argument(
            fmt::format("bad address \"{}\": ports are numbers from 1 to 65535", text));
    }
    return question;
}

std::string NameQuestion::key() const {
    std::string key{is_service() ? service_prefix : std::string_view{}};
    key += name;
    // DNS does not tell "A" from "a", RFC 4343; a locale does not matter.
    for (char& c : key) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return key;
}

void arrange(std::vector<NameTarget>& targets) {
    const auto key = [](const NameTarget& target) {
        return std::tuple{target.address.family(), sort_key(target.address), target.address.port()};
    };
    // Of several with one address, the lowest priority first, and of those the highest weight.
    std::ranges::sort(targets, [&](const NameTarget& a, const NameTarget& b) {
        return std::tuple{key(a), a.priority, b.weight} < std::tuple{key(b), b.priority, a.weight};
    });
    const auto twins = std::ranges::unique(targets, {}, &NameTarget::address);
    targets.erase(twins.begin(), twins.end());
}

}  // namespace eplb::control
