// The beginning of MySQL's client/server protocol: connection phase, without TLS and without a
// password. https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
//
//   greeting --login--> answer --> OK     passed: COM_QUIT, and the server closes
//      |                  | |----> ERR    failed, unless being turned away is all that we asked for
//     ERR: failed         |------> other method, more data: an empty answer, and again

#include "health/probe.hpp"

#include <cstdint>
#include <fmt/format.h>
#include <optional>

namespace eplb::health {
namespace {

using namespace std::string_view_literals;

constexpr std::uint32_t client_long_password = 0x1;
constexpr std::uint32_t client_protocol_41 = 0x200;
constexpr std::uint32_t client_transactions = 0x2000;
constexpr std::uint32_t client_secure_connection = 0x8000;
constexpr std::uint32_t client_plugin_auth = 0x80000;

constexpr std::size_t header_bytes = 4;
constexpr unsigned char ok_packet = 0x00, more_data = 0x01, switch_method = 0xfe,
                        error_packet = 0xff;

std::uint32_t little_endian(std::string_view bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
}

void append(std::string& out, std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i & 0xff);
}

std::string packet(unsigned char sequence, std::string_view payload) {
    std::string out;
    append(out, static_cast<std::uint32_t>(payload.size()), 3);
    out += static_cast<char>(sequence);
    return out.append(payload);
}

struct Error {
    std::uint32_t code = 0;
    std::string_view state{};  // empty: not told, as before the login
    std::string_view text{};
};

// `payload` begins with error_packet.
Error parse_error(std::string_view payload) {
    payload.remove_prefix(1);
    if (payload.size() < 2) return {};
    Error error{.code = little_endian(payload.substr(0, 2))};
    payload.remove_prefix(2);
    if (payload.size() >= 6 && payload.front() == '#') {
        error.state = payload.substr(1, 5);
        payload.remove_prefix(6);
    }
    error.text = payload;
    return error;
}

// Whoever says so would have let somebody else in.
bool is_turned_away(const Error& error) {
    switch (error.code) {
    case 1045:                                      // access denied
    case 1251:                                      // the client cannot do the method
    case 1698:                                      // access denied, no password
    case 3159: return true;                         // encryption is required
    default: return error.state.starts_with("28");  // invalid authorization
    }
}

class MysqlProbe final : public Probe {
public:
    explicit MysqlProbe(const CheckConfig& config) : config_{config} {}

    ProbeStep begin() override { return {}; }

    ProbeStep read(std::string_view received) override {
        if (received.size() < header_bytes) return {};
        const std::size_t length = little_endian(received.substr(0, 3));
        if (length == 0) return failed(Ending::reset, "mysql: an empty packet");
        if (length > max_probe_bytes - header_bytes)
            return failed(Ending::reset, fmt::format("mysql: a packet of {} bytes", length));
        if (received.size() < header_bytes + length) return {};

        const std::string_view payload = received.substr(header_bytes, length);
        const auto sequence = static_cast<unsigned char>(received[3]);
        ProbeStep step =
            logging_in_ ? on_answer(sequence, payload) : on_greeting(sequence, payload);
        step.consumed = header_bytes + length;
        return step;
    }

    std::string_view awaited() const noexcept override {
        return logging_in_ ? "the answer to the login"sv : "the greeting"sv;
    }

private:
    ProbeStep on_greeting(unsigned char sequence, std::string_view payload) {
        const auto version = static_cast<unsigned char>(payload.front());
        if (version == error_packet) return on_error(parse_error(payload));
        if (version != 10)
            return failed(Ending::reset, fmt::format("mysql: a greeting of protocol {}", version));
        const std::optional<std::uint32_t> offered = parse_capabilities(payload);
        if (!offered) return failed(Ending::reset, "mysql: a greeting that is too short");
        if ((*offered & client_protocol_41) == 0)
            return failed(Ending::reset, "mysql: a server from before 4.1");
        logging_in_ = true;
        return answer_with(packet(next(sequence), login(*offered)));
    }

    // Version 10: text up to a zero byte, 4 bytes of id, 8 of scramble, a zero byte, the lower half
    // of the capabilities; then, perhaps, 3 bytes of other things and the upper half.
    static std::optional<std::uint32_t> parse_capabilities(std::string_view payload) {
        const std::size_t end_of_text = payload.find('\0', 1);
        if (end_of_text == std::string_view::npos) return std::nullopt;
        std::string_view rest = payload.substr(end_of_text + 1);
        if (rest.size() < 4 + 8 + 1 + 2) return std::nullopt;
        const std::uint32_t lower = little_endian(rest.substr(13, 2));
        if (rest.size() < 15 + 3 + 2) return lower;
        return lower | little_endian(rest.substr(18, 2)) << 16;
    }

    [[nodiscard]] std::string login(std::uint32_t offered) const {
        static constexpr std::uint32_t wanted = client_long_password | client_protocol_41 |
                                                client_transactions | client_secure_connection |
                                                client_plugin_auth;
        static constexpr std::uint32_t largest_packet = 1 << 24;
        static constexpr std::uint32_t utf8 = 33;
        std::string out;
        append(out, offered & wanted, 4);
        append(out, largest_packet, 4);
        append(out, utf8, 1);
        out.append(23, '\0');
        out += config_.user;
        out += '\0';
        out += '\0';  // no bytes of proof: no password
        if ((offered & client_plugin_auth) != 0) out.append("mysql_native_password\0"sv);
        return out;
    }

    ProbeStep on_answer(unsigned char sequence, std::string_view payload) {
        switch (static_cast<unsigned char>(payload.front())) {
        case ok_packet: return passed(Ending::await_close, packet(0, "\x01"sv));  // COM_QUIT
        case error_packet: return on_error(parse_error(payload));
        case switch_method:
        case more_data: return answer_emptily(sequence, payload);
        default: return failed(Ending::reset, "mysql: no answer to the login");
        }
    }

    // No method wants proof of an empty password; those with SHA-256 want to hear so.
    ProbeStep answer_emptily(unsigned char sequence, std::string_view payload) {
        static constexpr int most = 4;
        if (++rounds_ > most) return failed(Ending::reset, "mysql: a login without end");
        const std::string_view method = payload.substr(1, payload.find('\0', 1) - 1);
        if (static_cast<unsigned char>(payload.front()) == switch_method)
            says_so_ = method == "caching_sha2_password" || method == "sha256_password";
        return answer_with(packet(next(sequence), says_so_ ? "\0"sv : ""sv));
    }

    [[nodiscard]] ProbeStep on_error(const Error& error) const {
        // The server closes behind an error.
        if (logging_in_ && config_.user.empty() && is_turned_away(error))
            return passed(Ending::await_close);
        return failed(Ending::await_close,
                      fmt::format("mysql: {} {}", error.code, quotable(error.text)));
    }

    static ProbeStep answer_with(std::string bytes) {
        ProbeStep step;
        step.send = std::move(bytes);
        return step;
    }
    static unsigned char next(unsigned char sequence) {
        return static_cast<unsigned char>(sequence + 1);
    }

    const CheckConfig& config_;
    bool logging_in_ = false;
    bool says_so_ = false;
    int rounds_ = 0;
};

}  // namespace

std::unique_ptr<Probe> make_mysql_probe(const CheckConfig& config) {
    return std::make_unique<MysqlProbe>(config);
}

}  // namespace eplb::health
