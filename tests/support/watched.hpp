#pragma once

#include "eplb/reactor.hpp"
#include "eplb/watch.hpp"
#include "support/catch.hpp"
#include "support/function_task.hpp"
#include "support/net.hpp"

#include <sys/socket.h>
#include <utility>

namespace eplb::test {

/// One turn that does not wait. Returns whether anything ran.
inline bool turn(Reactor& reactor) { return reactor.run_once(Duration{0}); }

inline void write_byte(const Fd& fd) { REQUIRE(::send(fd.get(), "x", 1, MSG_NOSIGNAL) == 1); }

/// A connection and a task that watches one end of it.
struct Watched {
    explicit Watched(Reactor& reactor, FunctionTask::Function function = {})
        : task{std::move(function)}, watch{reactor, task} {
        REQUIRE(watch.attach(pair.near.get()) == 0);
    }
    Pair pair = tcp_pair();
    FunctionTask task;
    Watch watch;
};

}  // namespace eplb::test
