#include "discovery/background.hpp"

#include "support/catch.hpp"

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

using eplb::control::Background;

TEST_CASE("background: jobs run one after the other, on another thread", "[control][background]") {
    std::vector<int> order;
    std::promise<void> over;
    std::thread::id where;
    Background background;
    for (int i = 0; i < 10; ++i) background.run([&, i] { order.push_back(i); });
    background.run([&] {
        where = std::this_thread::get_id();
        over.set_value();
    });
    over.get_future().wait();
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    CHECK(where != std::this_thread::get_id());
}

TEST_CASE("background: what a job holds is destroyed where it ran", "[control][background]") {
    struct Held {
        explicit Held(std::promise<std::thread::id>& gone) : gone_{gone} {}
        ~Held() { gone_.set_value(std::this_thread::get_id()); }
        std::promise<std::thread::id>& gone_;
    };
    std::promise<std::thread::id> gone;
    Background background;
    background.run([held = std::make_shared<Held>(gone)] {});
    CHECK(gone.get_future().get() != std::this_thread::get_id());
}

TEST_CASE("background: its end waits for the job in progress, and destroys the others",
          "[control][background]") {
    std::atomic<int> ran = 0;
    const auto held = std::make_shared<int>(0);
    std::promise<void> begun;
    std::promise<void> may_end;
    std::thread ending;
    {
        auto background = std::make_unique<Background>();
        background->run([&] {
            begun.set_value();
            may_end.get_future().wait();
            ++ran;
        });
        background->run([&, held] { ++ran; });
        begun.get_future().wait();
        ending = std::thread{[&, gone = std::move(background)]() mutable { gone.reset(); }};
    }
    may_end.set_value();
    ending.join();
    CHECK(ran >= 1);
    CHECK(held.use_count() == 1);
    // One without a job has no thread to wait for.
    const Background unused;
}
