// What each host has a nested reactor for: an echo service, a timer, and calls from another thread.
//     NAME_host BEAT_MS TICK_MS      how often the host's own timer says "beat", and the reactor's
//                                    "tick"; 0: never
// SIGUSR1 makes another thread post(). A client that says "later" is answered after some turns for
// which nothing else is a reason; one that says "throw" makes a task throw; one that says "quit" ends
// the program.
#pragma once

#include "eplb/acceptor.hpp"
#include "eplb/reactor.hpp"
#include "eplb/stream.hpp"
#include "eplb/timer.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <iostream>
#include <list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

struct Options {
    Options(int argc, char** argv)
        : beat{argc > 1 ? std::stoi(argv[1]) : 1000}, tick{argc > 2 ? std::stoi(argv[2]) : 1000} {}
    std::chrono::milliseconds beat;
    std::chrono::milliseconds tick;
};

/// Says at its end how often it was asked for the time: a host that lets the reactor turn without
/// need asks without end.
class CountingClock final : public eplb::Clock {
public:
    ~CountingClock() override { std::cout << looks_ << " looks at the clock" << std::endl; }
    eplb::TimePoint now() const noexcept override {
        ++looks_;
        return eplb::MonotonicClock::instance().now();
    }

private:
    mutable long looks_ = 0;
};

class Service final : public eplb::Task {
public:
    Service(eplb::Reactor& reactor, std::chrono::milliseconds tick, std::function<void()> on_quit)
        : reactor_{reactor}, tick_{tick}, on_quit_{std::move(on_quit)}, timer_{reactor, *this} {
        if (tick_.count() > 0) timer_.start(tick_);
        std::cout << "echo on " << eplb::local_address(acceptor_.listener()).to_string()
                  << std::endl;
    }

private:
    class Guest final : public eplb::Task {
    public:
        Guest(Service& service, eplb::Fd socket)
            : service_{service}, stream_{service.reactor_, *this, std::move(socket)} {}

        eplb::Next run() override {  // the few bytes of a test always find room to be sent
            if (later_ > 0) {
                const std::string_view now = "now";
                if (--later_ == 0) static_cast<void>(stream_.send(std::as_bytes(std::span{now})));
                return eplb::Next::again;
            }
            std::array<char, 4096> buffer;
            const auto got = stream_.receive(std::as_writable_bytes(std::span{buffer}));
            if (got.status == eplb::Stream::Status::blocked) return eplb::Next::wait;
            if (got.status != eplb::Stream::Status::moved) return eplb::Next::done;
            const std::string_view text{buffer.data(), got.bytes};
            if (text == "quit") service_.on_quit_();
            if (text == "throw") throw std::runtime_error{"out of a task"};
            if (text == "later") {
                later_ = 3;
                return eplb::Next::again;
            }
            const auto sent = stream_.send(std::as_bytes(std::span{text}));
            return sent.bytes == text.size() ? eplb::Next::again : eplb::Next::done;
        }
        void retire() override {
            service_.guests_.remove_if([this](const Guest& guest) { return &guest == this; });
        }

    private:
        Service& service_;
        eplb::Stream stream_;
        int later_ = 0;  // how many turns until it answers
    };

    /// Waits for SIGUSR1 on a thread of its own.
    class Poster {
    public:
        explicit Poster(std::function<void()> post) : post_{std::move(post)} {
            sigemptyset(&signals_);
            sigaddset(&signals_, SIGUSR1);
            pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
            thread_ = std::thread{[this] {
                int signal = 0;
                while (sigwait(&signals_, &signal) == 0 && !over_) post_();
            }};
        }
        ~Poster() {
            over_ = true;
            pthread_kill(thread_.native_handle(), SIGUSR1);
            thread_.join();
        }

    private:
        std::function<void()> post_;
        sigset_t signals_{};
        std::atomic<bool> over_ = false;
        std::thread thread_;
    };

    eplb::Next run() override {
        if (!timer_.take_fired()) return eplb::Next::wait;
        std::cout << "tick" << std::endl;
        timer_.start(tick_);
        return eplb::Next::wait;
    }

    eplb::Reactor& reactor_;
    std::chrono::milliseconds tick_;
    std::function<void()> on_quit_;
    std::list<Guest> guests_;
    eplb::Timer timer_;
    eplb::Acceptor acceptor_{reactor_, eplb::listen_on(eplb::Address::parse("127.0.0.1:0")),
                             [this](eplb::Fd socket, const eplb::Address&) {
                                 guests_.emplace_back(*this, std::move(socket));
                             }};
    Poster poster_{[this] { reactor_.post([] { std::cout << "posted" << std::endl; }); }};
};

inline void caught(const std::exception& error) {
    std::cout << "caught: " << error.what() << std::endl;
}

inline void beat() { std::cout << "beat" << std::endl; }
