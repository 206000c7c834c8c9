#include "eplb/reactor.hpp"

#include "base/saturating.hpp"
#include "base/sys.hpp"
#include "eplb/fd.hpp"
#include "reactor/bell.hpp"
#include "reactor/held_turns.hpp"
#include "reactor/timer_wheel.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <fmt/format.h>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

namespace eplb {
namespace {

// How often epoll is asked in a turn for what has to be noted before a timer expires. A few full
// arrays: a turn that grew with all that waits would hold up who is accepted, and what is posted.
constexpr int looks_per_turn = 4;

Fd open_or_throw(int fd_or_error, const char* what) {
    if (fd_or_error < 0) throw fmt::system_error(-fd_or_error, "cannot open {}", what);
    return Fd{fd_or_error};
}

// Keeps a flag set for the length of a scope. Scopes of one flag are not nested.
class Mark {
public:
    explicit Mark(bool& flag) noexcept : flag_{flag} { flag_ = true; }
    ~Mark() { flag_ = false; }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;

private:
    bool& flag_;
};

// The shorter of two waits, of which a negative one has no end.
Duration shorter(Duration a, Duration b) noexcept {
    if (a < Duration{0}) return b;
    if (b < Duration{0}) return a;
    return std::min(a, b);
}

// SIGPIPE is blocked from the first reactor of a thread to its last, whichever of them that is.
thread_local int reactors_of_thread = 0;
thread_local bool unblock_after_last = false;

void block_sigpipe() noexcept {
    if (reactors_of_thread++ > 0) return;
    sigset_t pipe_only;
    sigset_t old;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    unblock_after_last =
        pthread_sigmask(SIG_BLOCK, &pipe_only, &old) == 0 && sigismember(&old, SIGPIPE) == 0;
}

void unblock_sigpipe() noexcept {
    if (--reactors_of_thread > 0 || !unblock_after_last) return;
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    // One may be pending: take it, or unblocking would deliver it.
    const timespec at_once{};
    while (sigtimedwait(&pipe_only, nullptr, &at_once) == SIGPIPE) {}
    pthread_sigmask(SIG_UNBLOCK, &pipe_only, nullptr);
}

}  // namespace

/// Calls from other threads: a queue, and an eventfd(2) that wakes the loop.
class EPLB_LOCAL Reactor::Mailbox final : public Task {
public:
    explicit Mailbox(Reactor& reactor)
        : reactor_{reactor},
          fd_{open_or_throw(sys::eventfd(), "an eventfd")},
          watch_{reactor, *this} {
        if (const int error = watch_.attach(fd_.get(), Watch::input_events)) {
            throw fmt::system_error(error, "cannot watch an eventfd");
        }
    }

    void post(std::function<void()> fn) {
        std::list<std::function<void()>> letter;
        letter.push_back(std::move(fn));
        // Awake before the letter can be read: it may be the one that ends the reactor.
        const std::lock_guard lock{mutex_};
        wake_if_idle();
        letters_.splice(letters_.end(), letter);
    }

    void ring(Bell& bell) noexcept {
        const std::lock_guard lock{mutex_};
        if (bell.linked()) return;
        wake_if_idle();
        bells_.push_back(bell);
    }

    void silence(Bell& bell) noexcept {
        const std::lock_guard lock{mutex_};
        bell.unlink();
    }

    // One by one, while all is in its place: what dies with a letter may post another.
    void discard() noexcept {
        for (;;) {
            std::list<std::function<void()>> letter;
            {
                const std::lock_guard lock{mutex_};
                auto& from = opened_.empty() ? letters_ : opened_;
                if (from.empty()) return;
                letter.splice(letter.end(), from, from.begin());
            }
        }
    }

    void stop() noexcept {
        stopped_.store(true, std::memory_order_release);
        wake();
    }
    [[nodiscard]] bool stopped() const noexcept { return stopped_.load(std::memory_order_acquire); }
    [[nodiscard]] bool take_stop() noexcept {
        return stopped_.exchange(false, std::memory_order_acquire);
    }

    Next run() override {
        if (watch_.readable()) {
            std::uint64_t count = 0;
            static_cast<void>(sys::read(fd_.get(), std::as_writable_bytes(std::span{&count, 1})));
            watch_.clear_readable();  // one read(2) resets the counter, eventfd(2)
        }
        {
            const std::lock_guard lock{mutex_};
            opened_.splice(opened_.end(), letters_);
            heard_.splice_back(bells_);
        }
        while (Bell* const bell = next_heard()) reactor_.dispatch(bell->task_);
        for (int count = 0; !opened_.empty(); ++count) {
            if (count == posts_per_turn) return Next::again;
            const std::function<void()> fn = std::move(opened_.front());
            opened_.pop_front();
            fn();  // should it throw, the rest follow in the next turn
        }
        return Next::wait;
    }

private:
    // One that is heard may be rung again from then on.
    [[nodiscard]] Bell* next_heard() noexcept {
        const std::lock_guard lock{mutex_};
        return heard_.empty() ? nullptr : &heard_.pop_front();
    }
    // Whoever told it of something before has woken it, and run() has not looked since.
    void wake_if_idle() noexcept {
        if (letters_.empty() && bells_.empty()) wake();
    }
    void wake() noexcept {
        const std::uint64_t one = 1;
        static_cast<void>(sys::write(fd_.get(), std::as_bytes(std::span{&one, 1})));
    }

    Reactor& reactor_;
    Fd fd_;
    Watch watch_;
    std::mutex mutex_;
    std::list<std::function<void()>> letters_;  // guarded by mutex_, as are the next two
    IntrusiveList<Bell> bells_;                 // that were rung
    IntrusiveList<Bell> heard_;                 // and of these, those whose task has still to run
    std::list<std::function<void()>> opened_;
    std::atomic<bool> stopped_ = false;
};

Reactor::Reactor(const Clock& clock)
    : clock_{clock},
      now_{clock.now()},
      epoll_{open_or_throw(sys::epoll_create(), "an epoll set")},
      events_(sys::events_per_wait()),
      wheel_{std::make_unique<TimerWheel>(now_)},
      mailbox_{std::make_unique<Mailbox>(*this)},
      held_turns_{std::make_unique<HeldTurns>()} {
    block_sigpipe();
}

Reactor::~Reactor() {
    mailbox_->discard();
    unblock_sigpipe();
}

int Reactor::fd() const noexcept { return epoll_.get(); }

// Most tasks cannot run a second time while they run, and the outer turn's now() would change under
// them. Holding back those that run was considered: then a loop in a callback spins as soon as one of
// them is ready.
void Reactor::require_no_turn() const {
    if (in_turn_) throw std::logic_error{"a reactor cannot turn within a turn of its own"};
}

void Reactor::run() {
    require_no_turn();  // or it would take a stop() that is for another
    turn_ends_ = false;
    while (!mailbox_->take_stop()) turn(Duration{-1});
    turn_is_over(clock_.now());
}

// What the host does until it calls again is not the turn's: it is read now how long that took.
bool Reactor::run_once(Duration max_wait) {
    require_no_turn();
    turn_ends_ = false;
    const bool busy = turn(max_wait);
    if (busy) turn_is_over(clock_.now());
    return busy;
}

void Reactor::stop() noexcept { mailbox_->stop(); }

bool Reactor::stop_requested() const noexcept { return mailbox_->stopped(); }

void Reactor::post(std::function<void()> fn) { mailbox_->post(std::move(fn)); }

void Reactor::ring(Bell& bell) noexcept { mailbox_->ring(bell); }

void Reactor::silence(Bell& bell) noexcept { mailbox_->silence(bell); }

Duration Reactor::wait_time() const noexcept {
    if (!ready_.empty() || !batch_.empty()) return Duration{0};
    const std::optional<TimePoint> next = wheel_->next();
    if (!next) return Duration{-1};
    return std::max(*next - clock_.now(), Duration{0});
}

TimePoint Reactor::end_of_turn(TimePoint began) const noexcept {
    return held_turns_->end_of(began);
}

void Reactor::turn_is_over(TimePoint now) noexcept {
    if (std::exchange(turn_ends_, false) && now - now_ >= HeldTurns::least)
        held_turns_->note(now_, now);
}

// Rounded up, or the last fraction of a millisecond would be spent in a busy loop.
int Reactor::epoll_timeout_ms(Duration max_wait) noexcept {
    if (!ready_.empty() || !batch_.empty()) return 0;
    Duration wait = max_wait;
    if (const std::optional<TimePoint> next = wheel_->next()) {
        const TimePoint now = clock_.now();
        turn_is_over(now);
        wait = shorter(std::max(*next - now, Duration{0}), max_wait);
    }
    if (wait < Duration{0}) return -1;
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
    return static_cast<int>(std::min<std::int64_t>(milliseconds, INT_MAX));
}

int Reactor::wait_for_events(Duration max_wait) noexcept {
    if (busy_poll_ > Duration{0}) {
        const TimePoint start = clock_.now();
        turn_is_over(start);
        if (const int count = poll_busily(max_wait)) return count;
        if (max_wait > Duration{0}) {
            max_wait = std::max(max_wait - (clock_.now() - start), Duration{0});
        }
    }
    const int timeout_ms = epoll_timeout_ms(max_wait);
    // It is over now, or when epoll has been asked without waiting. And where there is no timer,
    // nobody has a time to be late for.
    if (timeout_ms != 0) turn_ends_ = false;
    return sys::epoll_wait(epoll_.get(), events_, timeout_ms);
}

int Reactor::poll_busily(Duration max_wait) noexcept {
    const TimePoint end =
        saturating_add(clock_.now(), shorter(shorter(wait_time(), max_wait), busy_poll_));
    while (clock_.now() < end) {
        if (const int count = sys::epoll_wait(epoll_.get(), events_, 0)) return count;
    }
    return 0;
}

bool Reactor::turn(Duration max_wait) {
    const int count = wait_for_events(max_wait);
    if (count < 0 && count != -EINTR) throw fmt::system_error(-count, "cannot wait for events");
    note(static_cast<std::size_t>(std::max(count, 0)));

    const TimePoint now = clock_.now();
    turn_is_over(now);
    const Mark in_turn{in_turn_};
    now_ = now;
    turn_ends_ = true;
    expire_timers();

    const bool busy = !ready_.empty() || !batch_.empty();
    // Whatever an exception left of an earlier batch comes first.
    batch_.splice_back(ready_);
    while (!batch_.empty()) dispatch(batch_.front());
    return busy;
}

void Reactor::note(std::size_t events) noexcept {
    for (const epoll_event& event : std::span{events_}.first(events)) {
        static_cast<Watch*>(event.data.ptr)->on_events(event.events);
    }
    // The mailbox's event may be among those for which there was no room, and post() promises this
    // turn.
    if (events == events_.size()) schedule(*mailbox_);
}

// Not by the time that it is now: what came since the look began may not have been noted.
void Reactor::expire_timers() noexcept {
    if (looking_ && !wheel_->has_due(look_began_)) looking_ = false;  // cancelled meanwhile
    if (!looking_ && !wheel_->has_due(now_)) return;
    if (!look_around()) return;  // still due in the next turn, which does not wait
    wheel_->advance(look_began_, [this](Timer& timer) {
        timer.fired_ = true;
        schedule(timer.task_);
    });
}

// Whether all has been noted that had come when it began, which may have been in an earlier turn.
// The events of this turn do not tell: the clock was read behind them, the process may have been
// stopped in between, and a signal ends a wait with nothing, whatever there is.
bool Reactor::look_around() noexcept {
    if (!std::exchange(looking_, true)) {
        look_began_ = now_;
        unseen_ = watched_;
    }
    for (int looks = 0; looks < looks_per_turn; ++looks) {
        const int count = sys::epoll_wait(epoll_.get(), events_, 0);
        if (count == -EINTR) continue;
        const auto seen = static_cast<std::size_t>(std::max(count, 0));  // the next turn throws
        note(seen);
        // Who became ready first is told first, and what is ready again stands behind all others.
        // So it ends, even if every array is full.
        unseen_ -= std::min(unseen_, seen);
        looking_ = seen == events_.size() && unseen_ > 0;
        if (!looking_) return true;
    }
    return false;
}

void Reactor::dispatch(Task& task) {
    task.unlink();
    // A task may run within itself, by dispatch(): then both are told.
    bool destroyed = false;
    bool* const outer = std::exchange(task.destroyed_, &destroyed);
    Next next = Next::wait;
    try {
        next = task.run();
    } catch (...) {
        if (!destroyed) {
            task.destroyed_ = outer;
            schedule(task);  // it may have left edges unhandled, and no other will come for them
        } else if (outer != nullptr) {
            *outer = true;
        }
        throw;
    }
    if (destroyed) {
        if (outer != nullptr) *outer = true;
        return;
    }
    task.destroyed_ = outer;
    switch (next) {
    case Next::wait: return;
    case Next::again: schedule(task); return;
    case Next::done:
        task.unlink();
        task.retire();
        return;
    }
}

}  // namespace eplb
