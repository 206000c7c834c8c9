#include "discovery/background.hpp"

#include "base/threads.hpp"
#include <utility>

namespace eplb::control {

Background::~Background() {
    {
        const std::lock_guard lock{mutex_};
        ending_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
}

void Background::run(std::function<void()> job) {
    if (!thread_.joinable()) thread_ = start_without_signals("reloads", [this] { work(); });
    {
        const std::lock_guard lock{mutex_};
        jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
}

void Background::work() {
    for (;;) {
        std::function<void()> job;
        {
            std::unique_lock lock{mutex_};
            wake_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
            if (ending_) return;
            job = std::move(jobs_.front());
            jobs_.pop_front();
        }
        job();
    }
}

}  // namespace eplb::control
