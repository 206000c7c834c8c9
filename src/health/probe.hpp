#pragma once

#include "eplb/health_check.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace eplb::health {

/// How a connection is left once the verdict is known, so that neither the server's log nor our
/// table of TIME-WAIT sockets fills.
enum class Ending : std::uint8_t {
    /// Reset: nothing of ours is under way, and nobody minds.
    reset,
    /// The server closes by itself, having read our goodbye: it has the TIME-WAIT.
    await_close,
    /// We send FIN, and the server closes: for those who would log a reset, or who have yet to read
    /// what was sent.
    finish,
};

/// What is to be done, in this order: forget `consumed` bytes, send `send`, believe `verdict`.
struct ProbeStep {
    enum class Verdict : std::uint8_t { undecided, passed, failed };
    Verdict verdict = Verdict::undecided;
    /// Of what was received.
    std::size_t consumed = 0;
    /// The question; with a verdict: the goodbye.
    std::string send{};
    Ending ending = Ending::reset;
    /// Why it failed: a line that is safe in a log between quotes. "mysql: 1040 Too many
    /// connections"
    std::string cause{};
};

/// No more of an answer is looked at: a probe that has not decided by then has failed.
constexpr std::size_t max_probe_bytes = 4096;

/// One conversation with a server, without the connection: bytes in, steps out. Each byte is
/// offered until it is consumed, behind it what came since, and whatever comes, nothing beyond it is
/// read.
class Probe {
public:
    virtual ~Probe() = default;
    Probe(const Probe&) = delete;
    Probe& operator=(const Probe&) = delete;

    /// The connection stands.
    [[nodiscard]] virtual ProbeStep begin() = 0;
    /// `received` is not empty, and has not been consumed. An undecided step that consumes nothing
    /// wants more bytes.
    [[nodiscard]] virtual ProbeStep read(std::string_view received) = 0;
    /// For "timeout while waiting for ...".
    [[nodiscard]] virtual std::string_view awaited() const noexcept = 0;

protected:
    Probe() = default;
};

/// For one check of `target`. `config` outlives the probe, and its type is not none.
[[nodiscard]] std::unique_ptr<Probe> make_probe(const CheckConfig& config, const Address& target);

// Of which each is in a file of its own.
[[nodiscard]] std::unique_ptr<Probe> make_expect_probe(const CheckConfig& config);
[[nodiscard]] std::unique_ptr<Probe> make_mysql_probe(const CheckConfig& config);
[[nodiscard]] std::unique_ptr<Probe> make_postgres_probe(const CheckConfig& config);
[[nodiscard]] std::unique_ptr<Probe> make_redis_probe(const CheckConfig& config);
[[nodiscard]] std::unique_ptr<Probe> make_http_probe(const CheckConfig& config,
                                                     const Address& target);

/// Text of the server's for a cause: safe between quotes in a log, and not too long.
[[nodiscard]] std::string quotable(std::string_view text);

// Steps, for probes.
[[nodiscard]] ProbeStep passed(Ending ending, std::string goodbye = {});
[[nodiscard]] ProbeStep failed(Ending ending, std::string cause);

}  // namespace eplb::health
