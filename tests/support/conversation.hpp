#pragma once

#include "health/probe.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace eplb::test {

/// What became of a probe that was told `answer`, `chunk` bytes at a time.
struct Conversation {
    health::ProbeStep::Verdict verdict = health::ProbeStep::Verdict::undecided;
    std::string sent;  ///< goodbye included
    std::string goodbye;
    std::string cause;
    health::Ending ending = health::Ending::reset;
    bool consumed_too_much = false;

    [[nodiscard]] bool passed() const { return verdict == health::ProbeStep::Verdict::passed; }
    [[nodiscard]] bool failed() const { return verdict == health::ProbeStep::Verdict::failed; }
    [[nodiscard]] bool undecided() const {
        return verdict == health::ProbeStep::Verdict::undecided;
    }
};

[[nodiscard]] inline Conversation converse(const CheckConfig& config, std::string_view answer,
                                           std::size_t chunk = 1'000'000) {
    const std::unique_ptr<health::Probe> probe =
        health::make_probe(config, config.target(Address::parse("192.0.2.1:80")));
    Conversation result;
    const auto take = [&](const health::ProbeStep& step) {
        result.verdict = step.verdict;
        result.sent += step.send;
        if (step.verdict != health::ProbeStep::Verdict::undecided) result.goodbye = step.send;
        result.cause = step.cause;
        result.ending = step.ending;
        return step.verdict != health::ProbeStep::Verdict::undecided;
    };
    if (take(probe->begin())) return result;
    std::string waiting;
    while (!answer.empty()) {
        const std::string_view part = answer.substr(0, chunk);
        answer.remove_prefix(part.size());
        waiting += part;
        while (!waiting.empty()) {
            // In a block that ends where the bytes end, so that a sanitizer sees a read beyond.
            const auto exact = std::make_unique<char[]>(waiting.size());
            std::copy(waiting.begin(), waiting.end(), exact.get());
            const health::ProbeStep step = probe->read({exact.get(), waiting.size()});
            result.consumed_too_much = step.consumed > waiting.size();
            if (take(step) || result.consumed_too_much) return result;
            if (step.consumed == 0) break;
            waiting.erase(0, step.consumed);
        }
    }
    return result;
}

/// Whether a good `answer` is good byte by byte as well, and everything shorter leaves the question
/// open.
[[nodiscard]] inline bool decides_at_the_end(const CheckConfig& config, std::string_view answer) {
    const Conversation whole = converse(config, answer);
    const Conversation slow = converse(config, answer, 1);
    if (whole.verdict != slow.verdict || whole.sent != slow.sent || whole.cause != slow.cause)
        return false;
    for (std::size_t size = 0; size < answer.size(); ++size)
        if (!converse(config, answer.substr(0, size)).undecided()) return false;
    return !whole.undecided();
}

}  // namespace eplb::test
