// Redis, RESP: https://redis.io/docs/latest/develop/reference/protocol-spec/
// The answers to AUTH (if there is a password) and PING are a line each. Behind QUIT the server closes.

#include "health/probe.hpp"

#include <fmt/format.h>
#include <initializer_list>

namespace eplb::health {
namespace {

using namespace std::string_view_literals;

std::string command(std::initializer_list<std::string_view> words) {
    std::string out = fmt::format("*{}\r\n", words.size());
    for (const std::string_view word : words)
        out += fmt::format("${}\r\n{}\r\n", word.size(), word);
    return out;
}

class RedisProbe final : public Probe {
public:
    explicit RedisProbe(const CheckConfig& config)
        : config_{config}, authenticating_{!config.password.empty()} {}

    ProbeStep begin() override {
        ProbeStep step;
        if (authenticating_) {
            step.send = config_.user.empty() ? command({"AUTH", config_.password})
                                             : command({"AUTH", config_.user, config_.password});
        }
        step.send += command({"PING"});
        return step;
    }

    ProbeStep read(std::string_view received) override {
        const char type = received.front();
        if (type != '+' && type != '-') return failed(Ending::reset, "redis: no such answer");
        const std::size_t end = received.find("\r\n");
        if (end == std::string_view::npos) return {};
        ProbeStep step = on_line(received.substr(0, end));
        step.consumed = end + 2;
        return step;
    }

    std::string_view awaited() const noexcept override {
        return authenticating_ ? "the answer to AUTH"sv : "the answer to PING"sv;
    }

private:
    ProbeStep on_line(std::string_view line) {
        if (authenticating_ && line == "+OK") {
            authenticating_ = false;
            return {};
        }
        if (!authenticating_ && is_alive(line))
            return passed(Ending::await_close, command({"QUIT"}));
        return failed(Ending::reset, fmt::format("redis: {}", quotable(line.substr(1))));
    }

    [[nodiscard]] bool is_alive(std::string_view answer) const {
        return answer == "+PONG" || answer.starts_with("-NOPERM ") ||
               (config_.password.empty() && answer.starts_with("-NOAUTH "));
    }

    const CheckConfig& config_;
    bool authenticating_;
};

}  // namespace

std::unique_ptr<Probe> make_redis_probe(const CheckConfig& config) {
    return std::make_unique<RedisProbe>(config);
}

}  // namespace eplb::health
