#include "eplb/fd.hpp"

#include "support/catch.hpp"
#include "support/process.hpp"

#include <cerrno>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

using eplb::Fd;

namespace {

int open_something() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0 || errno != EBADF; }

}  // namespace

static_assert(!std::is_copy_constructible_v<Fd> && !std::is_copy_assignable_v<Fd>);
static_assert(std::is_nothrow_move_constructible_v<Fd> && std::is_nothrow_move_assignable_v<Fd>);
static_assert(sizeof(Fd) == sizeof(int));

TEST_CASE("fd: holds nothing by default", "[base][fd]") {
    const Fd fd;
    CHECK_FALSE(fd.valid());
    CHECK(fd.get() == -1);
}

TEST_CASE("fd: closes what it holds when it dies", "[base][fd]") {
    const int number = open_something();
    REQUIRE(number >= 0);
    {
        const Fd fd{number};
        CHECK(fd.valid());
        CHECK(fd.get() == number);
        CHECK(is_open(number));
    }
    CHECK_FALSE(is_open(number));
}

TEST_CASE("fd: descriptor 0 is a descriptor like any other", "[base][fd]") {
    const int saved = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    REQUIRE(saved >= 0);
    ::close(STDIN_FILENO);
    REQUIRE(open_something() == 0);
    {
        const Fd fd{0};
        CHECK(fd.valid());
    }
    const bool closed = !is_open(0);
    ::dup2(saved, STDIN_FILENO);
    ::close(saved);
    CHECK(closed);
}

TEST_CASE("fd: a moved-from one holds nothing and closes nothing", "[base][fd]") {
    const eplb::test::DescriptorCheck descriptors;
    const int number = open_something();
    Fd target;
    {
        Fd source{number};
        target = std::move(source);
        CHECK_FALSE(source.valid());
    }
    CHECK(target.get() == number);
    CHECK(is_open(number));

    const Fd third{std::move(target)};
    CHECK_FALSE(target.valid());
    CHECK(third.get() == number);
    CHECK(descriptors.leaked() == 1);
}

TEST_CASE("fd: move assignment closes what was held before", "[base][fd]") {
    const int first = open_something();
    const int second = open_something();
    Fd fd{first};
    fd = Fd{second};
    CHECK_FALSE(is_open(first));
    CHECK(fd.get() == second);
    CHECK(is_open(second));
}

TEST_CASE("fd: assigning it to itself keeps it open", "[base][fd]") {
    Fd fd{open_something()};
    const int number = fd.get();
    Fd& alias = fd;
    fd = std::move(alias);
    CHECK(fd.get() == number);
    CHECK(is_open(number));
}

TEST_CASE("fd: release gives up without closing", "[base][fd]") {
    Fd fd{open_something()};
    const int number = fd.release();
    CHECK_FALSE(fd.valid());
    CHECK(is_open(number));
    ::close(number);
}

TEST_CASE("fd: reset closes the old one and takes the new one", "[base][fd]") {
    Fd fd{open_something()};
    const int first = fd.get();
    const int second = open_something();
    fd.reset(second);
    CHECK_FALSE(is_open(first));
    CHECK(fd.get() == second);

    fd.reset();
    CHECK_FALSE(fd.valid());
    CHECK_FALSE(is_open(second));
    fd.reset();
    CHECK_FALSE(fd.valid());
}
