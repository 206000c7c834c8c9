#pragma once

#include "discovery/name_source.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::control {

/// Whether what a name stands for can be used. Whoever follows names asks before anything is made of an
/// answer: what one name says is no affair of the others. Belongs to the thread of who asks.
class AnswerJudge {
public:
    AnswerJudge() = default;
    virtual ~AnswerJudge() = default;
    AnswerJudge(const AnswerJudge&) = delete;
    AnswerJudge& operator=(const AnswerJudge&) = delete;

    /// Why a name cannot have these addresses, beside what others were accepted with, in words that are
    /// safe in a log; nothing: it can.
    [[nodiscard]] virtual std::optional<std::string> problem_of(
        const NameQuestion& question, const std::vector<NameTarget>& targets) const = 0;
    /// It has these from now on. Throws std::bad_alloc.
    virtual void accept(const NameQuestion& question, const std::vector<NameTarget>& targets) = 0;

    /// How many descriptors each address of it takes: one for each time that it is checked.
    [[nodiscard]] virtual std::size_t checks_of(std::string_view key) const = 0;
    /// Why all names together cannot have so many descriptors; nothing: they can.
    [[nodiscard]] virtual std::optional<std::string> problem_of(std::size_t descriptors) const = 0;
};

}  // namespace eplb::control
