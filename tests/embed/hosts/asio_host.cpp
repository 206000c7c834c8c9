// A reactor in a program around asio's io_context. With Boost it is the same, in boost::asio.

#include "eplb/reactor.hpp"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <system_error>

// Destroyed when the context does not run any more. One thread runs it.
class NestedReactor {
public:
    NestedReactor(eplb::Reactor& reactor, asio::io_context& io)
        : reactor_{reactor}, events_{io, reactor.fd()}, timer_{io} {
        wait_for_events();
        set_timer();
    }
    ~NestedReactor() { events_.release(); }  // the descriptor stays the reactor's

    // Also for whoever starts a timer outside of a turn: asio asks nobody before it sleeps.
    void set_timer() {
        const eplb::Duration wait = reactor_.wait_time();
        if (wait < eplb::Duration{0}) return static_cast<void>(timer_.cancel());
        timer_.expires_after(wait);
        timer_.async_wait([this](std::error_code error) { turn(error, false); });
    }

private:
    void wait_for_events() {  // each time asio looks anew, so what a turn has left is seen
        events_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this](std::error_code error) { turn(error, true); });
    }
    void turn(std::error_code error, bool by_event) {
        if (error) return;  // it was cancelled
        struct Rearm {      // also when a task throws: io.run() may be called again
            NestedReactor& nested;
            bool events;
            ~Rearm() {
                if (events) nested.wait_for_events();
                nested.set_timer();
            }
        } const rearm{*this, by_event};
        reactor_.run_once(eplb::Duration{0});
    }

    eplb::Reactor& reactor_;
    asio::posix::stream_descriptor events_;
    asio::steady_timer timer_;
};

// --- the program

#include "service.hpp"

class Beat {
public:
    Beat(asio::io_context& io, std::chrono::milliseconds period) : period_{period}, timer_{io} {
        if (period_.count() > 0) wait();
    }

private:
    void wait() {
        timer_.expires_after(period_);
        timer_.async_wait([this](std::error_code error) {
            if (error) return;
            beat();
            wait();
        });
    }
    std::chrono::milliseconds period_;
    asio::steady_timer timer_;
};

int main(int argc, char** argv) {
    const Options options{argc, argv};
    asio::io_context io;
    Beat beat{io, options.beat};

    const CountingClock clock;
    eplb::Reactor reactor{clock};
    const Service service{reactor, options.tick, [&] { io.stop(); }};
    const NestedReactor nested{reactor, io};
    while (!io.stopped()) {
        try {
            io.run();
        } catch (const std::exception& error) {  // of a task
            caught(error);
        }
    }
}
