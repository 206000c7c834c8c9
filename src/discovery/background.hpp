#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace eplb::control {

/// A thread for what takes its time: jobs, one after the other. What a job holds is destroyed there,
/// too, so this is also the place to get rid of much at once. Belongs to one thread.
class Background {
public:
    Background() = default;
    /// Waits for the job in progress, and destroys those that have not begun.
    ~Background();
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;

    /// Jobs must not throw. The thread starts with the first one: throws std::system_error if it
    /// cannot.
    void run(std::function<void()> job);

private:
    void work();

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> jobs_;
    bool ending_ = false;
    std::thread thread_;
};

}  // namespace eplb::control
