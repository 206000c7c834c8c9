#include "health/probe.hpp"

#include "base/escape.hpp"

#include <utility>

namespace eplb::health {
namespace {

class TcpProbe final : public Probe {
public:
    ProbeStep begin() override { return passed(Ending::reset); }
    ProbeStep read(std::string_view /*received*/) override { return passed(Ending::reset); }
    std::string_view awaited() const noexcept override { return "the connection"; }
};

}  // namespace

std::unique_ptr<Probe> make_probe(const CheckConfig& config, const Address& target) {
    switch (config.type) {
    case CheckConfig::Type::none:
    case CheckConfig::Type::tcp: break;
    case CheckConfig::Type::send_expect: return make_expect_probe(config);
    case CheckConfig::Type::mysql: return make_mysql_probe(config);
    case CheckConfig::Type::postgres: return make_postgres_probe(config);
    case CheckConfig::Type::redis: return make_redis_probe(config);
    case CheckConfig::Type::http: return make_http_probe(config, target);
    }
    return std::make_unique<TcpProbe>();
}

std::string quotable(std::string_view text) {
    static constexpr std::size_t longest = 160;
    std::string result = escaped_phrase(text.substr(0, longest));
    if (text.size() > longest) result += "...";
    return result;
}

ProbeStep passed(Ending ending, std::string goodbye) {
    ProbeStep step;
    step.verdict = ProbeStep::Verdict::passed;
    step.send = std::move(goodbye);
    step.ending = ending;
    return step;
}

ProbeStep failed(Ending ending, std::string cause) {
    ProbeStep step;
    step.verdict = ProbeStep::Verdict::failed;
    step.ending = ending;
    step.cause = std::move(cause);
    return step;
}

}  // namespace eplb::health
