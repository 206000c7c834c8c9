#include "app/log_writer.hpp"

#include "eplb/fd.hpp"
#include "support/catch.hpp"
#include "support/folder.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <optional>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <vector>

using eplb::Fd;
using eplb::LogLevel;
using eplb::app::LogWriter;
using eplb::control::LogFormat;
using eplb::test::Folder;
using namespace std::chrono_literals;

// Real files, and the writer's own thread: that they do not wait for each other is what is tested.

namespace {

std::string content(const std::string& file) {
    std::ostringstream text;
    text << std::ifstream{file}.rdbuf();
    return text.str();
}

Fd reader_of(const std::string& fifo) {
    return Fd{::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
}

// What comes, until `text` has come. Waits for it a minute at most.
std::string read_until(const Fd& fd, const std::string& text) {
    std::string all;
    while (all.find(text) == std::string::npos) {
        pollfd ready{fd.get(), POLLIN, 0};
        if (::poll(&ready, 1, 60'000) <= 0) break;
        char buffer[65536];
        const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
        if (got == 0) std::this_thread::yield();  // nobody writes to it, yet
        if (got > 0) all.append(buffer, static_cast<std::size_t>(got));
    }
    return all;
}

void tell(LogWriter& log, const std::string& text) {
    log.write(LogLevel::info, LogFormat::text, text);
}

// Whole lines, each with what its number says.
std::size_t count_whole_lines(const std::string& text) {
    std::istringstream lines{text};
    std::size_t count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
        CAPTURE(line.substr(0, 80));
        CHECK(line.find("Z ") == 23);
        CHECK(line.find("Z ", 24) == std::string::npos);
    }
    return count;
}

constexpr std::size_t most_queued = std::size_t{1} << 20;

}  // namespace

TEST_CASE("log_writer: a line of a quiet log is written at once", "[log]") {
    const Folder folder;
    const std::string fifo = folder.fifo("log");
    const Fd reader = reader_of(fifo);
    LogWriter log{fifo};
    for (const char* text : {"one", "two", "three"}) {
        tell(log, text);
        CHECK(read_until(reader, "\n").ends_with(std::string{"Z info    "} + text + '\n'));
    }
    CHECK(log.finish(60s));
}

TEST_CASE("log_writer: all that was told is written when it finishes", "[log]") {
    const Folder folder;
    const std::string file = folder.file("log");
    {
        LogWriter log{file};
        for (int i = 0; i < 5000; ++i) tell(log, "line");
        CHECK(log.finish(60s));
    }
    CHECK(count_whole_lines(content(file)) == 5000);
}

TEST_CASE("log_writer: lines of several threads are each whole", "[log]") {
    const Folder folder;
    const std::string file = folder.file("log");
    LogWriter log{file};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&log] {
            for (int i = 0; i < 1000; ++i) tell(log, std::string(50, 'x'));
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(log.finish(60s));
    CHECK(count_whole_lines(content(file)) == 4000);
}

TEST_CASE("log_writer: a reader who does not read costs the oldest lines, and is told how many",
          "[log]") {
    const Folder folder;
    const std::string fifo = folder.fifo("log");
    const Fd reader = reader_of(fifo);
    LogWriter log{fifo};
    constexpr std::size_t told = 40'000;  // four times what pipe and queue hold
    for (std::size_t i = 0; i < told; ++i)
        tell(log, fmt::format("{:06} {}", i, std::string(90, '.')));
    tell(log, "the last");
    const std::string text = read_until(reader, "the last");
    CHECK(text.size() < most_queued + (std::size_t{256} << 10));
    const std::size_t lines = count_whole_lines(text);
    const std::size_t report = text.find(" log lines dropped: ");
    REQUIRE(report != std::string::npos);
    const std::size_t number = text.rfind(' ', report - 1) + 1;
    CHECK(std::stoul(text.substr(number)) == told + 1 - (lines - 1));
    CHECK(text.find("because nobody reads the log fast enough\n", report) != std::string::npos);
    CHECK(text.find(fmt::format("{:06} ", told - 1)) > report);  // in the gap, not at the end
    CHECK(log.finish(60s));
}

TEST_CASE("log_writer: it ends although nobody reads", "[log]") {
    const Folder folder;
    const std::string fifo = folder.fifo("log");
    const Fd reader = reader_of(fifo);
    LogWriter log{fifo};
    for (std::size_t i = 0; i < 20'000; ++i) tell(log, std::string(90, '.'));
    CHECK(log.finish());
}

TEST_CASE("log_writer: a FIFO that nobody reads yet is waited for, and gets what was told",
          "[log]") {
    const Folder folder;
    const std::string fifo = folder.fifo("log");
    LogWriter log{fifo};
    CHECK(log.problem() ==
          "cannot write the log file " + fifo + ": it is a FIFO that nobody reads");
    tell(log, "early");
    const Fd reader = reader_of(fifo);
    CHECK(read_until(reader, "\n").ends_with("early\n"));
}

TEST_CASE("log_writer: what cannot be opened is refused with the reason", "[log]") {
    const Folder folder;
    CHECK_THROWS_WITH(LogWriter{folder.file("no/log")}, "cannot write the log file " +
                                                            folder.file("no/log").string() +
                                                            ": No such file or directory");
}

TEST_CASE("log_writer: a file that was moved away is made anew, and gets what is told from then on",
          "[log]") {
    const Folder folder;
    const std::string file = folder.file("log");
    const std::string moved = folder.file("log.1");
    LogWriter log{file};
    for (int i = 0; i < 1000; ++i) tell(log, "before");
    std::filesystem::rename(file, moved);
    log.reopen();
    tell(log, "after");
    CHECK(log.finish(60s));
    CHECK(count_whole_lines(content(moved)) == 1000);
    CHECK(content(moved).find("after") == std::string::npos);
    CHECK(content(file).ends_with("after\n"));
    CHECK(count_whole_lines(content(file)) == 1);
}

TEST_CASE("log_writer: what cannot be opened anew is told in the old log, which goes on", "[log]") {
    const Folder folder;
    std::filesystem::create_directory(folder.file("sub"));
    const std::string file = folder.file("sub/log");
    LogWriter log{file};
    std::filesystem::rename(folder.file("sub"), folder.file("gone"));
    log.reopen();
    tell(log, "still here");
    CHECK(log.finish(60s));
    const std::string text = content(folder.file("gone/log"));
    CHECK(text.find("still here") != std::string::npos);
    CHECK(text.find("error   cannot write the log file " + file +
                    ": No such file or directory; the old log goes on\n") != std::string::npos);
}

TEST_CASE(
    "log_writer: a FIFO whose reader died is no log to go over to, and the next reader has lines again",
    "[log]") {
    const Folder folder;
    const std::string fifo = folder.fifo("log");
    Fd reader = reader_of(fifo);
    LogWriter log{fifo};
    tell(log, "first");
    CHECK(read_until(reader, "\n").ends_with("first\n"));
    reader.reset();
    log.reopen();
    const auto opening = log.open(fifo);
    CHECK(log.state_of(*opening) == LogWriter::State::failed);
    CHECK(log.problem_of(*opening).ends_with("it is a FIFO that nobody reads"));
    reader = reader_of(fifo);
    tell(log, "second");
    const std::string text = read_until(reader, "second\n");
    CHECK(text.ends_with("second\n"));
    CHECK(log.finish(60s));
}

TEST_CASE("log_writer: lines that a dead reader left go where the log goes over to", "[log]") {
    const Folder folder;
    const std::string fifo = folder.fifo("log");
    const std::string file = folder.file("file");
    const Fd reader = reader_of(fifo);
    LogWriter log{fifo};
    constexpr std::size_t told = 5000;  // some in the pipe, the others wait
    for (std::size_t i = 0; i < told; ++i) tell(log, std::string(90, '.'));
    const auto opening = log.open(file);
    REQUIRE(log.state_of(*opening) == LogWriter::State::open);
    log.go_over_to(opening);
    tell(log, "the last");
    CHECK(log.finish(60s));
    const std::string rest = content(file);
    CHECK(rest.ends_with("the last\n"));
    std::string piped(65536 * 2, '\0');
    piped.resize(static_cast<std::size_t>(
        std::max<ssize_t>(0, ::read(reader.get(), piped.data(), piped.size()))));
    CHECK(piped.ends_with('\n'));
    CHECK(count_whole_lines(piped) + count_whole_lines(rest) == told + 1);
}

TEST_CASE("log_writer: what is opened and not gone over to is closed", "[log]") {
    const Folder folder;
    const std::string fifo = folder.fifo("other");
    const Fd reader = reader_of(fifo);
    LogWriter log{folder.file("log")};
    log.open(fifo).reset();
    log.open("-").reset();  // behind it
    pollfd end{reader.get(), POLLIN, 0};
    CHECK(::poll(&end, 1, 60'000) == 1);
    CHECK((end.revents & POLLHUP) != 0);
}

TEST_CASE("log_writer: half a line that somebody left in the file is not glued to ours", "[log]") {
    const Folder folder;
    const std::string file = folder.file("log");
    std::ofstream{file} << "half a li";
    LogWriter log{file};
    tell(log, "ours");
    CHECK(log.finish(60s));
    const std::string text = content(file);
    CHECK(text.starts_with("half a li\n20"));
    CHECK(text.ends_with("ours\n"));
}

TEST_CASE(
    "log_writer: a file that takes no more has whole lines, and the number of those that are lost",
    "[log]") {
    // RLIMIT_FSIZE is a full disk for one process: the write that reaches it is short, the next one fails.
    const Folder folder;
    const std::string file = folder.file("log");
    const auto old_action = ::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    LogWriter log{file};
    const auto limit = [&](rlim_t bytes) {
        const rlimit limited{bytes, before.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limited) == 0);
    };
    constexpr std::size_t small = 10'000;
    limit(small);
    std::size_t told = 0;
    // Until lines are lost for sure: the file is full, and what is told is taken out of the queue.
    for (; told < 30'000; ++told) tell(log, fmt::format("{:06} {}", told, std::string(60, '.')));
    while (std::filesystem::file_size(file) < small) std::this_thread::yield();
    const auto fence = log.open(file);  // lines before it have been tried
    limit(before.rlim_cur);
    tell(log, "the last");
    CHECK(log.finish(60s));
    ::signal(SIGXFSZ, old_action);
    const std::string text = content(file);
    const std::size_t lines = count_whole_lines(text);
    const std::size_t report = text.find(" dropped: ");
    REQUIRE(report != std::string::npos);
    CHECK(text.find("could not be written (File too large)", report) != std::string::npos);
    CHECK(text.ends_with("the last\n"));
    // One report, or several if it took more than a second: they are lines, too.
    std::size_t lost = 0;
    std::size_t reports = 0;
    for (std::size_t at = report; at != std::string::npos; at = text.find(" dropped: ", at + 1)) {
        const std::size_t begin = text.rfind("warning ", at) + 8;
        lost += std::stoul(text.substr(begin));
        ++reports;
    }
    CHECK(lines - reports + lost == told + 1);
}
