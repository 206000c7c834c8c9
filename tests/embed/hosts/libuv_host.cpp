// A reactor in a program around libuv's loop.

#include "eplb/reactor.hpp"

#include <chrono>
#include <uv.h>

class NestedReactor {
public:
    NestedReactor(eplb::Reactor& reactor, uv_loop_t* loop) : reactor_{reactor} {
        poll_->data = prepare_->data = timer_->data = this;
        uv_poll_init(loop, poll_, reactor.fd());
        uv_prepare_init(loop, prepare_);
        uv_timer_init(loop, timer_);
        uv_poll_start(poll_, UV_READABLE, [](uv_poll_t* poll, int, int) { turn(poll->data); });
        uv_prepare_start(prepare_, [](uv_prepare_t* prepare) {  // before each sleep
            static_cast<NestedReactor*>(prepare->data)->set_timer();
        });
    }
    ~NestedReactor() { close(poll_), close(prepare_), close(timer_); }

private:
    static void turn(void* self) noexcept {  // an exception may not pass through C
        static_cast<NestedReactor*>(self)->reactor_.run_once(eplb::Duration{0});
    }
    void set_timer() noexcept {  // rounded up, or the last fraction of a ms would be a busy loop
        const eplb::Duration wait = reactor_.wait_time();
        if (wait < eplb::Duration{0}) return static_cast<void>(uv_timer_stop(timer_));
        const auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
        uv_timer_start(timer_, [](uv_timer_t* timer) { turn(timer->data); }, std::uint64_t(ms), 0);
    }
    template <class Handle>
    static void close(Handle* handle) {  // libuv needs it until the loop's next turn
        uv_close(reinterpret_cast<uv_handle_t*>(handle),
                 [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
    }

    eplb::Reactor& reactor_;
    uv_poll_t* poll_ = new uv_poll_t;
    uv_prepare_t* prepare_ = new uv_prepare_t;
    uv_timer_t* timer_ = new uv_timer_t;
};

// --- the program

#include "service.hpp"

int main(int argc, char** argv) {
    const Options options{argc, argv};
    uv_loop_t loop;
    uv_loop_init(&loop);
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    const auto period = static_cast<std::uint64_t>(options.beat.count());
    if (period > 0) uv_timer_start(&timer, [](uv_timer_t*) { beat(); }, period, period);
    {
        const CountingClock clock;
        eplb::Reactor reactor{clock};
        const NestedReactor nested{reactor, &loop};
        const Service service{reactor, options.tick, [&] { uv_stop(&loop); }};
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);  // to the end of what is being closed
    return uv_loop_close(&loop) == 0 ? 0 : 1;
}
