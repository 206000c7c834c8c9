#include "reactor/socket_file.hpp"

#include "eplb/fd.hpp"
#include "support/catch.hpp"
#include "support/folder.hpp"
#include "support/process.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

using eplb::Address;
using eplb::Fd;
using eplb::ListenOptions;
using eplb::SocketFile;
using eplb::test::Folder;
using State = SocketFile::State;

namespace {

ListenOptions with_mode(mode_t mode) {
    ListenOptions options;
    options.mode = mode;
    return options;
}

mode_t mode_of(const std::filesystem::path& path) {
    struct stat status{};
    REQUIRE(::lstat(path.c_str(), &status) == 0);
    return status.st_mode & 0777U;
}

}  // namespace

TEST_CASE("socket file: is known by what it is, not by its path", "[reactor][socket_file]") {
    const Folder folder;
    const Address address = folder.socket("front");
    const Fd socket = eplb::listen_on(address);
    const SocketFile file{address};
    REQUIRE(file);
    CHECK(file.state() == State::ours);
    std::filesystem::remove(folder.file("front"));
    CHECK(file.state() == State::gone);
    std::ofstream{folder.file("front")} << "somebody else's";
    CHECK(file.state() == State::replaced);
}

TEST_CASE("socket file: neither another file nor what a link points to is touched",
          "[reactor][socket_file]") {
    const Folder folder;
    const Address address = folder.socket("front");
    const Fd socket = eplb::listen_on(address);
    SocketFile file{address};
    std::filesystem::remove(folder.file("front"));
    const std::filesystem::path victim = folder.file("victim");
    std::ofstream{victim} << "x";
    REQUIRE(::chmod(victim.c_str(), 0600) == 0);
    SECTION("another file") { std::filesystem::rename(victim, folder.file("front")); }
    SECTION("a link") { std::filesystem::create_symlink(victim, folder.file("front")); }
    SECTION("a link to a socket of ours") {
        std::optional<Fd> other = eplb::listen_on(folder.socket("other"), with_mode(0600));
        std::filesystem::create_symlink(folder.file("other"), folder.file("front"));
        CHECK_FALSE(file.set_permissions(with_mode(0666)).empty());
        CHECK(mode_of(folder.file("other")) == 0600);
    }
    const auto refused = file.set_permissions(with_mode(0666));
    REQUIRE(refused.size() == 1);
    CHECK(std::string{refused[0].option} == "unix_mode");
    for (const char* const name : {"victim", "front"}) {
        if (std::filesystem::is_regular_file(std::filesystem::symlink_status(folder.file(name))))
            CHECK(mode_of(folder.file(name)) == 0600);
    }
    file.remove();
    CHECK(std::filesystem::exists(std::filesystem::symlink_status(folder.file("front"))));
    CHECK_FALSE(file);
}

TEST_CASE("socket file: its own mode is changed, and its own file removed",
          "[reactor][socket_file]") {
    const Folder folder;
    const Address address = folder.socket("front");
    const Fd socket = eplb::listen_on(address, with_mode(0600));
    CHECK(mode_of(folder.file("front")) == 0600);
    SocketFile file{address};
    CHECK(file.set_permissions(with_mode(0640)).empty());
    CHECK(mode_of(folder.file("front")) == 0640);
    CHECK(file.set_permissions({}).empty());
    CHECK(mode_of(folder.file("front")) == 0640);
    file.remove();
    CHECK_FALSE(std::filesystem::exists(folder.file("front")));
    file.remove();
}

TEST_CASE("socket file: the mode is set even if the owner cannot be", "[reactor][socket_file]") {
    CHECK(eplb::test::in_child([] {
              if (!eplb::test::become_unprivileged()) return 1;
              const Folder folder;
              const Fd socket = eplb::listen_on(folder.socket("s"), with_mode(0666));
              ListenOptions options = with_mode(0600);
              options.owner = 0;
              const auto refused = SocketFile{folder.socket("s")}.set_permissions(options);
              if (refused.size() != 1 || refused[0].error != EPERM ||
                  refused[0].option != std::string{"unix_owner"})
                  return 2;
              struct stat status{};
              if (::lstat(folder.file("s").c_str(), &status) != 0) return 3;
              return (status.st_mode & 0777U) == 0600 ? 0 : 4;
          }) == 0);
}

TEST_CASE("socket file: TCP and abstract sockets have none", "[reactor][socket_file]") {
    CHECK_FALSE(SocketFile{Address::parse("127.0.0.1:1")});
    CHECK_FALSE(SocketFile{Address::parse("unix:@x")});
    CHECK_FALSE(SocketFile{Address{}});
    CHECK_FALSE(SocketFile{});
}
