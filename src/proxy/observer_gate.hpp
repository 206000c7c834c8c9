#pragma once

#include "eplb/proxy.hpp"

#include <atomic>
#include <string_view>
#include <thread>

namespace eplb {

/// Between a proxy and its observer: knows whether the observer is being told something just now,
/// on the thread of the proxy, and can be shut for good. Made on that thread.
class ObserverGate final : public ProxyObserver {
public:
    explicit ObserverGate(ProxyObserver& observer) noexcept : observer_{&observer} {}

    // On the proxy's thread:

    [[nodiscard]] bool telling() const noexcept { return depth_ > 0; }
    /// Tells nothing from now on. What is being told on other threads goes on.
    void shut() noexcept { observer_ = nullptr; }

    // On any worker's thread:

    void on_event(LogLevel level, std::string_view message) noexcept override {
        tell([&](ProxyObserver& observer) { observer.on_event(level, message); });
    }
    void on_session_start(const SessionStart& start) noexcept override {
        tell([&](ProxyObserver& observer) { observer.on_session_start(start); });
    }
    void on_session_end(const SessionSummary& summary) noexcept override {
        tell([&](ProxyObserver& observer) { observer.on_session_end(summary); });
    }

private:
    template <class Call>
    void tell(Call call) noexcept {
        ProxyObserver* const observer = observer_;
        if (observer == nullptr) return;
        const bool own = std::this_thread::get_id() == thread_;
        if (own) ++depth_;
        call(*observer);
        if (own) --depth_;
    }

    std::atomic<ProxyObserver*> observer_;
    std::thread::id thread_ = std::this_thread::get_id();
    int depth_ = 0;
};

}  // namespace eplb
