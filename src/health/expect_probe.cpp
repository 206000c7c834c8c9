#include "health/probe.hpp"

namespace eplb::health {
namespace {

class ExpectProbe final : public Probe {
public:
    explicit ExpectProbe(const CheckConfig& config) : config_{config} {}

    ProbeStep begin() override {
        if (config_.expect.empty()) {
            // A reset would overtake what was sent.
            return passed(config_.send.empty() ? Ending::reset : Ending::finish, config_.send);
        }
        ProbeStep step;
        step.send = config_.send;
        return step;
    }

    // Looks at everything each time: it is 4 KiB at most.
    ProbeStep read(std::string_view received) override {
        if (received.find(config_.expect) != std::string_view::npos) return passed(Ending::reset);
        return {};
    }

    std::string_view awaited() const noexcept override { return "the expected answer"; }

private:
    const CheckConfig& config_;
};

}  // namespace

std::unique_ptr<Probe> make_expect_probe(const CheckConfig& config) {
    return std::make_unique<ExpectProbe>(config);
}

}  // namespace eplb::health
