// Any bytes at all as the answer to a health check, against the promises of probe.hpp. The first byte
// says what is asked, and whether there is a user; how the rest is cut into pieces makes no difference.

#include "health/probe.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

using eplb::Address;
using eplb::CheckConfig;
using eplb::health::Probe;
using eplb::health::ProbeStep;
using Verdict = eplb::health::ProbeStep::Verdict;

namespace {

// assert() may be compiled out; what is promised here may not.
void require(bool fact, std::string_view promise) {
    if (fact) return;
    fmt::print(stderr, "broken promise: {}\n", promise);
    std::abort();
}

struct Conversation {
    Verdict verdict = Verdict::undecided;
    std::string sent;
    std::string cause;
};

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return c >= ' ' && c < 0x7f && c != '"'; });
}

// Whether that was the verdict.
bool take(Conversation& conversation, const ProbeStep& step, std::size_t waiting) {
    require(step.consumed <= waiting, "nothing is consumed that did not come");
    require(is_printable(step.cause), "nothing a server says writes into a log");
    require(step.cause.size() < 1024, "a cause has a limit");
    require(step.cause.empty() == (step.verdict != Verdict::failed), "failed: there is a cause");
    conversation.verdict = step.verdict;
    conversation.sent += step.send;
    conversation.cause = step.cause;
    require(conversation.sent.size() < 1024, "a question has a limit");
    return step.verdict != Verdict::undecided;
}

Conversation converse(const CheckConfig& config, std::string_view answer, std::size_t chunk) {
    const std::unique_ptr<Probe> probe =
        eplb::health::make_probe(config, Address::parse("127.0.0.1:1"));
    Conversation result;
    if (take(result, probe->begin(), 0)) return result;
    std::string waiting;
    while (!answer.empty()) {
        const std::string_view part = answer.substr(0, chunk);
        answer.remove_prefix(part.size());
        waiting += part;
        while (!waiting.empty()) {
            // In a block of its own, so that a sanitizer sees a read beyond.
            const auto exact = std::make_unique<char[]>(waiting.size());
            std::copy(waiting.begin(), waiting.end(), exact.get());
            const ProbeStep step = probe->read({exact.get(), waiting.size()});
            require(!probe->awaited().empty(), "a timeout has something to name");
            if (take(result, step, waiting.size())) return result;
            if (step.consumed == 0) break;
            waiting.erase(0, step.consumed);
        }
    }
    return result;
}

CheckConfig config_of(std::uint8_t selector) {
    static constexpr CheckConfig::Type types[] = {
        CheckConfig::Type::send_expect, CheckConfig::Type::mysql, CheckConfig::Type::postgres,
        CheckConfig::Type::redis, CheckConfig::Type::http};
    CheckConfig config;
    config.type = types[selector / 2 % std::size(types)];
    config.send = "question";
    config.expect = "expected";
    if (selector % 2 == 1) {
        config.user = "user";
        config.database = "database";
        config.password = "password";
    }
    return config;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const CheckConfig config = config_of(data[0]);
    std::string_view answer{reinterpret_cast<const char*>(data + 1), size - 1};
    answer = answer.substr(0, eplb::health::max_probe_bytes);
    const Conversation whole = converse(config, answer, answer.size());
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}}) {
        const Conversation cut = converse(config, answer, chunk);
        require(cut.verdict == whole.verdict, "how it is cut changes no verdict");
        require(cut.sent == whole.sent, "nor what is sent");
        require(cut.cause == whole.cause, "nor a cause");
    }
    return 0;
}
