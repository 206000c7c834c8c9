#pragma once

#include "eplb/task.hpp"
#include "reactor/bell.hpp"

#include <atomic>
#include <cstdint>

namespace eplb {

class Reactor;
class Worker;
struct WorkerShared;

/// Hears what a worker is called for, by whatever thread: a bit for each wish, and a Bell. So a call
/// cannot fail, and however many come before the worker gets there, it does what is wished once.
///
/// Belongs to the thread of its reactor, which outlives it, as the worker and what workers
/// share do.
class Ears final : public Task {
public:
    /// What a worker may be called for.
    enum class Wish : std::uint8_t {
        turn = 1,               ///< Worker::take_turn()
        backend_room = 2,       ///< Worker::on_backend_room()
        trim_pipes = 4,         ///< Worker::trim_pipes()
        reset_sessions = 8,     ///< Worker::reset_sessions()
        look_at_sessions = 16,  ///< WorkerShared::on_sessions_gone
        look_at_answers = 32    ///< WorkerShared::on_answers
    };

    Ears(Reactor& reactor, Worker& worker, const WorkerShared& shared) noexcept
        : worker_{worker}, shared_{shared}, bell_{reactor, *this} {}

    /// Any thread. Has the worker do so, never within this call, at the latest in the next turn.
    /// Allocates nothing.
    void call(Wish wish) noexcept;

    Next run() noexcept override;

private:
    Worker& worker_;
    const WorkerShared& shared_;
    Bell bell_;
    std::atomic<std::uint8_t> wishes_{0};
};

}  // namespace eplb
