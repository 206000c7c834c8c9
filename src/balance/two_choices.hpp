#pragma once

#include "eplb/balancer.hpp"

#include <cstdint>
#include <vector>

namespace eplb {

/// Draws two candidates, and leaves it to the policy which one it is.
class TwoChoices : public Balancer {
public:
    explicit TwoChoices(std::uint64_t seed) noexcept : state_{seed} {}

    void prepare(std::span<const Backend* const> backends) override;
    [[nodiscard]] const Backend* pick(const Candidates& candidates,
                                      const PickContext& context) noexcept override;

private:
    /// Of two that are equally good, the one that was drawn first is to be picked: it was drawn in
    /// proportion to the weights.
    [[nodiscard]] virtual bool is_second_better(const Backend& first, const Backend& second,
                                                TimePoint now) const noexcept = 0;

    /// Below `end`, each about equally often; 0 if that is 0.
    [[nodiscard]] std::uint64_t draw(std::uint64_t end) noexcept;
    [[nodiscard]] std::size_t owner_of(std::uint64_t ticket) const noexcept;

    std::uint64_t state_;
    std::vector<std::uint64_t> ends_;  // by place: the weights of the candidates up to this one
};

/// Balance::random.
class RandomOfTwo final : public TwoChoices {
public:
    using TwoChoices::TwoChoices;

private:
    [[nodiscard]] bool is_second_better(const Backend& first, const Backend& second,
                                        TimePoint now) const noexcept override;
};

/// Balance::peak_ewma.
class FasterOfTwo final : public TwoChoices {
public:
    using TwoChoices::TwoChoices;

private:
    [[nodiscard]] bool is_second_better(const Backend& first, const Backend& second,
                                        TimePoint now) const noexcept override;
};

}  // namespace eplb
