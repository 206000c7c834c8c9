#include "config/expand_env.hpp"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <string_view>
#include <utility>

namespace eplb::control {
namespace {

bool is_name(std::string_view text) {
    const auto is_letter = [](char c) {
        return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    };
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    return !text.empty() && is_letter(text.front()) &&
           std::ranges::all_of(text, [&](char c) { return is_letter(c) || is_digit(c); });
}

class Expander {
public:
    Expander(const Environment& environment, Diagnostics& diagnostics)
        : environment_{environment}, diagnostics_{diagnostics} {}

    void visit(Node& node) {
        if (node.kind == Node::Kind::string) expand(node);
        for (Node& item : node.items) visit(item);
        for (Member& member : node.members) visit(member.value);
    }

private:
    void expand(Node& node) {
        if (node.text.find('$') == std::string::npos) return;
        std::string result;
        std::string_view rest = node.text;
        while (!rest.empty()) {
            const std::size_t dollar = std::min(rest.find('$'), rest.size());
            result += rest.substr(0, dollar);
            rest.remove_prefix(dollar);
            if (rest.starts_with("$$")) {
                result += '$';
                rest.remove_prefix(2);
            } else if (rest.starts_with("${")) {
                const std::size_t close = rest.find('}');
                if (close == std::string_view::npos) {
                    diagnostics_.error(node.place,
                                       "a \"${\" without its \"}\"; write $$ for a "
                                       "dollar sign");
                    node.broken = true;
                    return;
                }
                const auto value = value_of(rest.substr(2, close - 2), node.place);
                node.broken = node.broken || !value;
                result += value.value_or("");
                rest.remove_prefix(close + 1);
                node.untyped = true;
            } else if (!rest.empty()) {
                result += rest.front();
                rest.remove_prefix(1);
            }
        }
        node.text = std::move(result);
    }

    // Nothing: there is none, which it has told.
    std::optional<std::string> value_of(std::string_view expression, const Place& place) {
        const std::size_t colon = expression.find(":-");
        const std::string name{expression.substr(0, colon)};
        if (!is_name(name)) {
            diagnostics_.error(place, fmt::format("\"${{{}}}\" is no variable; write ${{NAME}} or "
                                                  "${{NAME:-default}}",
                                                  expression));
            return std::nullopt;
        }
        std::optional<std::string> value = environment_(name);
        if (colon != std::string_view::npos && (!value || value->empty()))
            return std::string{expression.substr(colon + 2)};
        if (value) return value;
        diagnostics_.error(place,
                           fmt::format("there is no variable {0} in the environment; set it, "
                                       "or write ${{{0}:-default}}",
                                       name));
        return std::nullopt;
    }

    const Environment& environment_;
    Diagnostics& diagnostics_;
};

}  // namespace

Environment process_environment() {
    return [](const std::string& name) -> std::optional<std::string> {
        const char* const value = std::getenv(name.c_str());
        return value != nullptr ? std::optional<std::string>{value} : std::nullopt;
    };
}

void expand_env(Node& root, const Environment& environment, Diagnostics& diagnostics) {
    Expander{environment, diagnostics}.visit(root);
}

}  // namespace eplb::control
