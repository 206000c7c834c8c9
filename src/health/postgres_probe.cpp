// The beginning of PostgreSQL's protocol 3.0, https://www.postgresql.org/docs/current/protocol-flow.html
//
//   with a user:     startup --> R, not 0    passed: a password is wanted; FIN, for at this place it
//                                            takes a Terminate for a mistake, and a reset is logged
//                            --> R 0 ... Z   passed: Terminate, and the server closes
//                            --> E           passed or failed: by its SQLSTATE
//   without a user:  GSSENCRequest --> G, N  passed: FIN
//                                  --> E     as above

#include "health/probe.hpp"

#include <algorithm>
#include <cstdint>
#include <fmt/format.h>

namespace eplb::health {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

constexpr std::uint32_t protocol_3_0 = 3 << 16;
constexpr std::uint32_t gss_request = 1234U << 16 | 5680U;

std::uint32_t big_endian(std::string_view bytes) {
    std::uint32_t value = 0;
    for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
    return value;
}

void append(std::string& out, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

// Without a type, as only the first packet of a connection is.
std::string first_packet(std::uint32_t code, std::string_view rest = {}) {
    std::string out;
    append(out, static_cast<std::uint32_t>(8 + rest.size()));
    append(out, code);
    return out.append(rest);
}

struct Error {
    std::string_view state{};
    std::string_view text{};
};

// Fields, each a letter and a text with a zero byte behind it.
Error parse_error(std::string_view body) {
    Error error;
    while (!body.empty() && body.front() != '\0') {
        const char field = body.front();
        body.remove_prefix(1);
        const std::string_view text = body.substr(0, body.find('\0'));
        if (field == 'C') error.state = text;
        if (field == 'M') error.text = text;
        body.remove_prefix(std::min(text.size() + 1, body.size()));
    }
    return error;
}

class PostgresProbe final : public Probe {
public:
    explicit PostgresProbe(const CheckConfig& config) : config_{config} {}

    ProbeStep begin() override {
        ProbeStep step;
        step.send = config_.user.empty() ? first_packet(gss_request) : startup();
        return step;
    }

    ProbeStep read(std::string_view received) override {
        const char type = received.front();
        if (config_.user.empty() && (type == 'G' || type == 'N')) return passed(Ending::finish);
        if (type < 'A' || type > 'Z') return failed(Ending::reset, "postgres: no such message");
        if (received.size() < 5) return {};
        const std::uint32_t length = big_endian(received.substr(1, 4));  // with itself
        if (length < 4 || length > max_probe_bytes - 1)
            return failed(Ending::reset, fmt::format("postgres: a message of {} bytes", length));
        if (received.size() < 1 + length) return {};

        ProbeStep step = on_message(type, received.substr(5, length - 4));
        step.consumed = 1 + length;
        return step;
    }

    std::string_view awaited() const noexcept override {
        return authenticated_ ? "the end of the startup"sv : "the answer to the startup"sv;
    }

private:
    [[nodiscard]] std::string startup() const {
        std::string parameters = "user\0"s + config_.user + '\0';
        if (!config_.database.empty()) parameters += "database\0"s + config_.database + '\0';
        return first_packet(protocol_3_0, parameters += '\0');
    }

    ProbeStep on_message(char type, std::string_view body) {
        if (type == 'E') return on_error(parse_error(body));
        if (config_.user.empty()) return failed(Ending::reset, "postgres: no such answer");
        switch (type) {
        case 'R':
            if (body.size() < 4) return failed(Ending::reset, "postgres: a message cut short");
            if (big_endian(body.substr(0, 4)) != 0) return passed(Ending::finish);
            authenticated_ = true;
            return {};
        case 'Z': return passed(Ending::await_close, "X\0\0\0\4"s);
        default: return {};  // a parameter, the key to cancel with, a notice
        }
    }

    // The server closes behind an error.
    [[nodiscard]] ProbeStep on_error(const Error& error) const {
        const bool too_old = config_.user.empty() && error.state == "0A000";  // for GSSENCRequest
        if (too_old || error.state.starts_with("28") || error.state == "3D000")
            return passed(Ending::await_close);
        return failed(Ending::await_close,
                      fmt::format("postgres: {} {}", quotable(error.state), quotable(error.text)));
    }

    const CheckConfig& config_;
    bool authenticated_ = false;
};

}  // namespace

std::unique_ptr<Probe> make_postgres_probe(const CheckConfig& config) {
    return std::make_unique<PostgresProbe>(config);
}

}  // namespace eplb::health
