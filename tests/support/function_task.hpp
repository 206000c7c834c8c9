#pragma once

#include "eplb/task.hpp"

#include <functional>
#include <utility>

namespace eplb::test {

/// A task that does what it is told, and counts.
class FunctionTask final : public Task {
public:
    using Function = std::function<Next()>;

    FunctionTask() = default;
    explicit FunctionTask(Function function) : function_{std::move(function)} {}
    /// For functions that always wait.
    [[nodiscard]] static Function waiting(std::function<void()> body) {
        return [body = std::move(body)] {
            body();
            return Next::wait;
        };
    }

    void set(Function function) { function_ = std::move(function); }
    void on_retire(std::function<void()> function) { on_retire_ = std::move(function); }

    [[nodiscard]] int runs() const { return runs_; }
    [[nodiscard]] bool retired() const { return retired_; }

    Next run() override {
        ++runs_;
        return function_ ? function_() : Next::wait;
    }
    void retire() noexcept override {
        retired_ = true;
        // A copy: the function may destroy the task, and itself with it.
        if (const auto function = on_retire_) function();
    }

private:
    Function function_;
    std::function<void()> on_retire_;
    int runs_ = 0;
    bool retired_ = false;
};

}  // namespace eplb::test
