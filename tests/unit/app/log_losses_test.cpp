#include "app/log_losses.hpp"

#include "support/catch.hpp"

#include <cerrno>
#include <string_view>

using eplb::app::LogLosses;

TEST_CASE("log losses: they are told by cause, and those that there are none of are not",
          "[app][log_losses]") {
    struct Row {
        LogLosses losses;
        std::string_view told;
    };
    const Row rows[] = {
        {{1, 0, 0}, "1 log line dropped: 1 because nobody reads the log fast enough"},
        {{2, 0, 0}, "2 log lines dropped: 2 because nobody reads the log fast enough"},
        {{0, 3, 0}, "3 log lines dropped: 3 for lack of memory"},
        {{0, 0, 4}, "4 log lines dropped: 4 could not be written (No space left on device)"},
        {{0, 1, 2},
         "3 log lines dropped: 1 for lack of memory, 2 could not be written (No space left on device)"},
        {{5, 6, 7},
         "18 log lines dropped: 5 because nobody reads the log fast enough, 6 for lack of memory, 7 could not be written (No space left on device)"},
    };
    for (const Row& row : rows) CHECK(to_text(row.losses, ENOSPC) == row.told);
    CHECK(to_text(LogLosses{0, 0, 1}, EIO) ==
          "1 log line dropped: 1 could not be written (Input/output error)");
}

TEST_CASE("log losses: what is new is told apart from what was, by cause", "[app][log_losses]") {
    const LogLosses before{100, 20, 3};
    const LogLosses now{101, 22, 6};
    CHECK(now.all() == 129);
    const LogLosses added = now - before;
    CHECK(added.full == 1);
    CHECK(added.memory == 2);
    CHECK(added.write_error == 3);
    CHECK(added.all() == 6);
    CHECK((now - now).all() == 0);
}
