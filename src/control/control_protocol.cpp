#include "control/control_protocol.hpp"

#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

namespace eplb::control {
namespace {

using nlohmann::json;
using Kind = Reloader::Outcome::Kind;

constexpr std::array<std::pair<Kind, const char*>, 5> kinds{{
    {Kind::unchanged, "unchanged"},
    {Kind::changed, "changed"},
    {Kind::refused, "refused"},
    {Kind::invalid, "invalid"},
    {Kind::failed, "failed"},
}};

// A report may quote a file that is no UTF-8.
std::string to_line(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
}

// Whatever is wrong with it, in one exception.
template <class Read>
auto parse(std::string_view line, Read read) {
    try {
        return read(json::parse(line));
    } catch (const json::exception&) {
        throw std::invalid_argument("no message of this version");
    }
}

}  // namespace

std::string encode(const Reloader::Request& request) {
    json message{{"command", "reload"},
                 {"dry_run", request.dry_run},
                 {"force", request.force},
                 {"strict", request.strict}};
    if (request.file) message["file"] = request.file->string();
    return to_line(message);
}

Reloader::Request decode_request(std::string_view line) {
    return parse(line, [](const json& message) {
        if (message.at("command") != "reload") throw std::invalid_argument("unknown command");
        Reloader::Request request;
        request.dry_run = message.at("dry_run").get<bool>();
        request.force = message.at("force").get<bool>();
        request.strict = message.at("strict").get<bool>();
        if (message.contains("file")) request.file = message.at("file").get<std::string>();
        return request;
    });
}

std::string encode(const Reloader::Outcome& outcome) {
    const char* name = "";
    for (const auto& [kind, text] : kinds) {
        if (kind == outcome.kind) name = text;
    }
    return to_line({{"outcome", name}, {"report", outcome.report}});
}

Reloader::Outcome decode_outcome(std::string_view line) {
    return parse(line, [](const json& message) {
        const auto name = message.at("outcome").get<std::string>();
        for (const auto& [kind, text] : kinds) {
            if (name == text) return Reloader::Outcome{kind, message.at("report")};
        }
        throw std::invalid_argument("unknown outcome");
    });
}

}  // namespace eplb::control
