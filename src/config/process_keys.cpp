// The keys of the process, which stand above all tables.
#include "config/make_key.hpp"

#include <chrono>
#include <cstdint>

namespace eplb::control {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t most_workers = 256;
constexpr std::uint64_t most_connections = 100'000'000;
constexpr Duration most_busy_poll = 1s;

KeyTable<ProcessValues> make_process_keys() {
    using V = ProcessValues;
    return {
        key<V>(
            "workers", optional_count_codec(1, most_workers),
            [](auto& v) -> auto& { return v.workers; }, "--workers",
            "Threads that move bytes, each with connections of its own. `\"auto\"` is one for each "
            "processor that the process may run on. One is enough for most: it saturates "
            "several 10 Gb/s links. A change takes effect at the next start."),
        key<V>(
            "max_connections", count_or_auto_codec(1, most_connections),
            [](auto& v) -> auto& { return v.max_connections; }, "--max-connections",
            "Sessions at a time, of all services together; further clients wait in the "
            "listeners' backlogs. `\"auto\"` is what the limit of open files (`ulimit -n`, "
            "`LimitNOFILE=`) allows: a session takes two."),
        key<V>(
            "busy_poll", duration_codec({.least = 1us, .most = most_busy_poll}),
            [](auto& v) -> auto& { return v.busy_poll; }, "--busy-poll",
            "How long a worker asks for events without sleeping before it blocks. It cuts the "
            "latency of a lone connection to a third, and takes a whole processor while nothing "
            "happens. A change takes effect at the next start."),
        key<V>(
            "control", unix_socket_codec(), [](auto& v) -> auto& { return v.control; }, "",
            "A Unix socket, like `\"unix:/run/eplb/control.sock\"`, on which the running process "
            "answers `eplb reload`. Only its owner and root can connect. A change takes effect at "
            "the next start."),
    };
}

}  // namespace

const KeyTable<ProcessValues>& process_keys() {
    static const KeyTable<ProcessValues> table = make_process_keys();
    return table;
}

}  // namespace eplb::control
