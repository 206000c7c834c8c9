#pragma once

#include "client.hpp"
#include "eplb/clock.hpp"
#include "eplb/fd.hpp"
#include "histogram.hpp"
#include "wire.hpp"

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace eplb::bench {

/// The process in front of the proxy: closed-loop clients on one thread, plain epoll, the same for
/// every design.
///
///     opening   connections are opened, 64 at a time, each checked with one byte there and back
///     warm up   everybody does their work, nothing counts; until each ping came back once
///     window    the same, and it counts
///     drain     no new pings; an answer that does not come within two seconds is lost
///
/// It survives whatever the proxy does, and counts it.
class Load {
public:
    /// Throws std::system_error when there are no descriptors.
    Load(LoadSpec spec, const SharedCounters& counters);

    [[nodiscard]] LoadResult run();

private:
    struct Deadline {
        TimePoint at;
        std::size_t client;
        std::uint32_t generation;
    };

    void add_clients(std::size_t count, Client::Role role);
    [[nodiscard]] bool open_all();
    void work_until(TimePoint end);
    void turn(TimePoint latest);
    void start_traffic();
    void begin_window();
    void end_window();
    void drain();
    void await_first_answers();

    void open(std::size_t index);
    void on_event(std::size_t index, std::uint32_t events);
    void on_connected(Client& client);
    void on_answer(std::size_t index);
    void on_verified(std::size_t index);
    void on_ping(std::size_t index, std::uint32_t events);
    void send_ping(std::size_t index);
    void pull_some(std::size_t index);
    void push_some(std::size_t index);
    void fail(std::size_t index, const std::string& reason);
    void lose(std::size_t index, int error);
    void close(Client& client);
    void expire();

    LoadSpec spec_;
    const SharedCounters& counters_;
    Fd epoll_;
    std::vector<sockaddr_in> targets_;
    std::vector<Client> clients_;
    std::deque<Deadline> deadlines_;      // the same delay for all, so the first is due first
    std::vector<std::size_t> to_reopen_;  // churn: in the next turn, not inside the last one's end
    std::vector<char> buffer_;
    std::size_t opened_ = 0;    // how many were ever opened: picks target and source address
    std::size_t opening_ = 0;   // connecting, or waiting for the first answer
    std::size_t answered_ = 0;  // when all were opened
    std::size_t lost_ = 0;      // failed while opening
    std::size_t cold_ = 0;      // pings that did not come back yet, not even once
    TimePoint last_success_;
    bool traffic_ = false;
    Histogram latencies_;
    std::uint64_t operations_ = 0;
    std::uint64_t pulled_bytes_ = 0;
    LoadResult result_;
    TimePoint window_began_;
    std::uint64_t pushed_before_ = 0;
    std::int64_t proxy_cpu_before_ = 0;
    std::int64_t load_cpu_before_ = 0;
};

/// The whole process: spec as JSON, result to standard output as a line of JSON; then holds the
/// connections until standard input is closed, so that the proxy's memory can be looked at.
int run_as_load(const std::string& spec);

}  // namespace eplb::bench
