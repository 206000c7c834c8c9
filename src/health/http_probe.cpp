// The status line of an answer, RFC 9112 section 4: "HTTP/1.1 200 OK". What follows is thrown away, and
// the server closes.

#include "health/probe.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace eplb::health {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class HttpProbe final : public Probe {
public:
    HttpProbe(const CheckConfig& config, const Address& target)
        : config_{config}, target_{target} {}

    ProbeStep begin() override {
        ProbeStep step;
        step.send = fmt::format(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: eplb\r\nAccept: */*\r\n"
            "Connection: close\r\n\r\n",
            config_.path, host());
        return step;
    }

    ProbeStep read(std::string_view received) override {
        static constexpr std::string_view version = "HTTP/1.";
        const std::string_view begin = received.substr(0, version.size());
        if (begin != version.substr(0, begin.size()))
            return failed(Ending::reset, "http: no status line");
        // "HTTP/1.1 200" and one byte behind it: a status has three digits.
        static constexpr std::size_t length = version.size() + 1 + 1 + 3;
        if (received.size() < length + 1) return {};
        const std::string_view status = received.substr(length - 3, 3);
        const char behind = received[length];
        if (!is_digit(received[version.size()]) || received[version.size() + 1] != ' ' ||
            !std::ranges::all_of(status, is_digit) ||
            (behind != ' ' && behind != '\r' && behind != '\n'))
            return failed(Ending::reset, "http: no status line");
        const int code = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
        if (is_expected(code)) return passed(Ending::await_close);
        return failed(Ending::await_close, fmt::format("http: status {}", status));
    }

    std::string_view awaited() const noexcept override { return "the status line"; }

private:
    [[nodiscard]] std::string host() const {
        if (!config_.host.empty()) return config_.host;
        return target_.is_unix() ? "localhost" : target_.to_string();
    }

    [[nodiscard]] bool is_expected(int code) const {
        return std::ranges::any_of(config_.statuses, [code](const CheckConfig::StatusRange& range) {
            return code >= range.first && code <= range.last;
        });
    }

    const CheckConfig& config_;
    Address target_;
};

}  // namespace

std::unique_ptr<Probe> make_http_probe(const CheckConfig& config, const Address& target) {
    return std::make_unique<HttpProbe>(config, target);
}

}  // namespace eplb::health
