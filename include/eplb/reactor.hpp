// reactor: the event loop.
#pragma once

#include "eplb/clock.hpp"
#include "eplb/export.hpp"
#include "eplb/fd.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <sys/epoll.h>
#include <type_traits>
#include <utility>
#include <vector>

/// All of the library but eplb_version(), whose symbol is C's.
namespace eplb {

class Bell;
class HeldTurns;

/// The event loop: one epoll set, one list of ready tasks, one timing wheel, one thread.
///
/// A turn, in this order; code of tasks runs only in step 4:
///   1. wait for events: not at all when a task is ready, else until the next timer;
///   2. note each event in its watch and put the watch's task on the ready list;
///   3. read the clock; if a timer is due by then, ask for events once more, without waiting, and
///      note them; put the task of each expired timer on the ready list;
///   4. run every task that is on the list now, once.
///
/// So a timer expires only when everything that had come by the time that it is measured by has
/// been noted, and behind the tasks that it was noted for: after a pause of whatever length (the
/// process was stopped, the machine slept, the host was busy) a task finds what came in time, if it
/// looks at its watches before it looks at its timer. When more events wait than a turn takes, the
/// timers wait for a later turn. A turn in which no timer is due asks once.
///
/// epoll's event array is dead before the first task runs, so a task may destroy any other.
///
/// Construct, use and destroy it on one thread; only post(), stop() and stop_requested() may be
/// called from others.
/// The constructor blocks SIGPIPE for that thread, since splice(2) into a closed socket raises it
/// and has no MSG_NOSIGNAL; the destructor of the thread's last reactor restores it. Nothing else
/// of the process is touched. A program that is started from that thread has it blocked too, since
/// a mask survives execve(2): posix_spawnattr_setsigmask(3), or unblock it in the child.
///
/// After fork(2) both processes have the same epoll set. The child must neither turn the reactor
/// nor destroy it or anything that belongs to it, which would take the descriptors out of the
/// parent's set: execve(2), or _exit(2).
class EPLB_API Reactor {
public:
    /// Throws std::system_error when there are no descriptors left (it takes two).
    /// `clock` outlives the reactor.
    explicit Reactor(const Clock& clock = MonotonicClock::instance());
    /// A temporary would be gone before the reactor.
    explicit Reactor(const Clock&& clock) = delete;
    /// Destroys the functions that were posted and have not run. Not within a turn.
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    /// Turns until stop(). Not within a turn of the same reactor, as run_once().
    void run();
    /// One turn, waiting for at most `max_wait` in step 1 (negative: no limit). Returns whether any
    /// task ran. For hosts with a loop of their own, and for tests: run_once(Duration{0}) never
    /// blocks.
    ///
    /// Throws std::logic_error when it is called within a turn of the same reactor: that would call
    /// what is just running a second time. The turn in progress is not affected.
    bool run_once(Duration max_wait);
    /// Makes run() return after the turn in progress; may be called before run(). The request stays
    /// until a run() returns for it; run_once() does not look at it, so a host with a loop of its
    /// own asks stop_requested(). Any thread, as long as the reactor outlives the call: who destroys
    /// it once run() is over, lets it be stopped by post().
    void stop() noexcept;
    /// Whether stop() was called, and no run() has returned for it. stop() makes fd() readable, so
    /// a host that sleeps learns of it. Any thread. One atomic load.
    [[nodiscard]] bool stop_requested() const noexcept;

    /// Before it blocks, the loop asks for events for so long without waiting: that spares the time
    /// that waking up takes, and costs a core while nothing happens. Zero, the default: it blocks at
    /// once. The reactor's clock has to go on by itself.
    void set_busy_poll(Duration spin) noexcept { busy_poll_ = spin; }

    /// Functions of post() that run before other tasks get their turn.
    static constexpr int posts_per_turn = 64;
    /// Runs `fn` on the reactor's thread, in the order of the calls: never within this call, and at
    /// the latest in the next turn to begin, unless an exception ends that before, or more than
    /// `posts_per_turn` of them wait: then those behind run in the turns after it, which begin at
    /// once. Posted within a turn, it may run in the same one. Any thread. One write(2), unless the
    /// reactor has been told of others that it has not looked at yet.
    ///
    /// Throws std::bad_alloc, and then nothing was posted.
    void post(std::function<void()> fn);
    /// The same for what cannot be copied, like a lambda that holds an Fd for the reactor of
    /// another thread. One allocation more.
    template <class Function>
        requires(!std::copy_constructible<std::decay_t<Function>> &&
                 std::constructible_from<std::decay_t<Function>, Function> &&
                 std::invocable<std::decay_t<Function>&>)
    void post(Function&& fn) {
        post(std::function<void()>{
            [kept = std::make_shared<std::decay_t<Function>>(std::forward<Function>(fn))] {
                static_cast<void>((*kept)());
            }});
    }

    /// An epoll descriptor that turns readable when run_once() has events to handle, to be watched
    /// by a host's loop. It does not know of timers or ready tasks: ask wait_time().
    [[nodiscard]] int fd() const noexcept;
    /// How long the host may sleep before it must call run_once() all the same; negative: for ever.
    [[nodiscard]] Duration wait_time() const noexcept;

    /// The time at which the turn in progress began (step 3), the same for every task of a turn;
    /// between turns, what the clock says.
    [[nodiscard]] TimePoint now() const noexcept { return in_turn_ ? now_ : clock_.now(); }

    /// When the turn whose now() was `began` was over, if it was held up for 50 ms or more in the
    /// middle of it; else `began`. What a task noted with now() may have happened as late as that,
    /// so whoever gives a peer a time to answer asks here before it says that the time is over.
    /// Remembers the 16 longest; a few comparisons.
    [[nodiscard]] TimePoint end_of_turn(TimePoint began) const noexcept;

    /// Puts `task` on the ready list, if it is not there. It runs in the next turn; in this one if
    /// it is on the list for that, and has not run yet.
    void schedule(Task& task) noexcept {
        if (!task.linked()) ready_.push_back(task);
    }
    /// Runs `task` at once, as step 4 would: for a task that starts another and need not wait a
    /// turn.
    void dispatch(Task& task);

private:
    friend class Bell;
    friend class Timer;
    friend class Watch;
    class Mailbox;

    void ring(Bell& bell) noexcept;
    void silence(Bell& bell) noexcept;
    void require_no_turn() const;
    bool turn(Duration max_wait);
    void turn_is_over(TimePoint now) noexcept;
    void note(std::size_t events) noexcept;
    void expire_timers() noexcept;
    [[nodiscard]] bool look_around() noexcept;
    [[nodiscard]] int epoll_timeout_ms(Duration max_wait) noexcept;
    [[nodiscard]] int wait_for_events(Duration max_wait) noexcept;
    [[nodiscard]] int poll_busily(Duration max_wait) noexcept;

    const Clock& clock_;
    TimePoint now_;
    Fd epoll_;
    std::vector<epoll_event> events_;  // here only because the stack would be cleared every turn
    IntrusiveList<Task> ready_;
    IntrusiveList<Task> batch_;  // what is left of the turn in progress
    std::unique_ptr<TimerWheel> wheel_;
    std::size_t watched_ = 0;  // descriptors; the mailbox's is the first
    std::unique_ptr<Mailbox> mailbox_;
    std::unique_ptr<HeldTurns> held_turns_;
    // Of the look at what has come before timers expire, while it goes on.
    TimePoint look_began_;
    std::size_t unseen_ = 0;  // of the descriptors that were watched when it began, at most
    bool looking_ = false;
    Duration busy_poll_{0};
    bool in_turn_ = false;
    bool turn_ends_ = false;  // nobody has read the clock since the latest turn
};

}  // namespace eplb
