#include "config/config_text.hpp"

#include "support/catch.hpp"
#include "support/folder.hpp"
#include "support/process.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace std::string_literals;
using eplb::control::ConfigError;
using eplb::control::most_config_bytes;
using eplb::control::read_config_text;
using eplb::test::DescriptorCheck;
using eplb::test::Folder;
using eplb::test::in_child;

namespace {

std::string message_of(const fs::path& file) {
    try {
        static_cast<void>(read_config_text(file));
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "no error";
}

}  // namespace

TEST_CASE("config text: a file is read as it is", "[control][config_text]") {
    const Folder dir;
    for (const std::string text : {"", "a = 1\n", "a = 1", "\r\n", "\xef\xbb\xbf# \xc3\xa4",
                                   "\xff is no character", "\xff", "\xfe"}) {
        INFO(text);
        CHECK(read_config_text(dir.written("eplb.toml", text)) == text);
    }
}

TEST_CASE("config text: a link to a file is as good as the file", "[control][config_text]") {
    const Folder dir;
    const fs::path file = dir.written("eplb.toml", "a = 1\n");
    fs::create_symlink(file, dir.file("link.toml"));
    CHECK(read_config_text(dir.file("link.toml")) == "a = 1\n");
    fs::remove(file);
    CHECK(message_of(dir.file("link.toml")) ==
          "cannot open " + dir.file("link.toml").string() + ": No such file or directory");
}

TEST_CASE("config text: a file that is not there is told by its name", "[control][config_text]") {
    const Folder dir;
    const fs::path missing = dir.file("eplb.toml");
    CHECK(message_of(missing) == "cannot open " + missing.string() + ": No such file or directory");
    const fs::path below_a_file = dir.written("eplb.toml", "") / "eplb.toml";
    CHECK(message_of(below_a_file) == "cannot open " + below_a_file.string() + ": Not a directory");
}

TEST_CASE("config text: what is no file is rejected, and what it is instead is told",
          "[control][config_text]") {
    const Folder dir;
    CHECK(message_of(dir.path()) ==
          dir.path().string() + ": it is a directory; name the file in it");

    const fs::path socket = dir.file("socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(socket.string().size() < sizeof address.sun_path);
    socket.string().copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    const int bound = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const std::string message = message_of(socket);
    ::close(fd);
    REQUIRE(bound == 0);
    CHECK(message == socket.string() + ": it is a socket");

    CHECK(message_of("/dev/null") == "/dev/null: it is a device");
    CHECK(message_of("/dev/zero") == "/dev/zero: it is a device");
}

TEST_CASE("config text: a pipe is rejected without waiting for whoever writes into it",
          "[control][config_text]") {
    const Folder dir;
    const fs::path fifo = dir.file("fifo");
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    CHECK(message_of(fifo) ==
          fifo.string() + ": it is a pipe; a configuration that can be read again is a file");
}

TEST_CASE("config text: a file of the largest size is read, and one byte more is too much",
          "[control][config_text]") {
    const Folder dir;
    const std::string largest(most_config_bytes, '#');
    CHECK(read_config_text(dir.written("eplb.toml", largest)).size() == most_config_bytes);
    const fs::path larger = dir.written("eplb.toml", largest + "#");
    CHECK(message_of(larger) ==
          larger.string() + ": it is larger than 1MiB, which no configuration is");
}

TEST_CASE("config text: a file of many gigabytes is rejected as soon as that is clear",
          "[control][config_text]") {
    const Folder dir;
    const fs::path file = dir.written("eplb.toml", "");
    fs::resize_file(file, std::uintmax_t{64} << 30);  // sparse
    CHECK(message_of(file) ==
          file.string() + ": it is larger than 1MiB, which no configuration is");
}

TEST_CASE("config text: a file that may not be read is told by its name",
          "[control][config_text]") {
    const Folder dir;
    const fs::path file = dir.written("eplb.toml", "a = 1\n");
    fs::permissions(dir.path(), fs::perms{0755});
    fs::permissions(file, fs::perms{0});
    const std::string expected = "cannot open " + file.string() + ": Permission denied";
    // Root may read everything.
    CHECK(in_child([&] {
              if (!eplb::test::become_unprivileged()) return 1;
              return message_of(file) == expected ? 0 : 2;
          }) == 0);
}

TEST_CASE("config text: UTF-16 is told as what it is", "[control][config_text]") {
    const Folder dir;
    for (const std::string& text : {"\xff\xfe"s + "a\0"s, "\xfe\xff"s + "\0a"s, "\xff\xfe"s}) {
        const fs::path file = dir.written("eplb.toml", text);
        CHECK(message_of(file) == file.string() + ": it is UTF-16; save it as UTF-8");
    }
}

TEST_CASE("config text: a NUL byte is told with its line", "[control][config_text]") {
    const Folder dir;
    const std::vector<std::pair<std::string, std::string>> table{
        {"\0"s, "1"},
        {"a = 1\0\n"s, "1"},
        {"a = 1\nb = \"\0\"\n"s, "2"},
        {"a = 1\r\n\r\n\0\0\n\0"s, "3"},
        {"\0a\0 \0=\0"s, "1"},  // UTF-16 without a mark
    };
    for (const auto& [text, line] : table) {
        const fs::path file = dir.written("eplb.toml", text);
        CHECK(message_of(file) ==
              file.string() + ":" + line + ": error: there is a NUL byte: this is no text");
    }
}

TEST_CASE("config text: no descriptor is left open, whatever there is to read",
          "[control][config_text]") {
    const Folder dir;
    const fs::path fifo = dir.file("fifo");
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    const DescriptorCheck descriptors;
    CHECK(message_of(dir.written("eplb.toml", "a = 1\n")) == "no error");
    CHECK(message_of(dir.written("eplb.toml", "\0"s)) != "no error");
    CHECK(message_of(dir.path()) != "no error");
    CHECK(message_of(fifo) != "no error");
    CHECK(message_of("/dev/zero") != "no error");
    CHECK(message_of(dir.file("missing")) != "no error");
    CHECK(descriptors.leaked() == 0);
}
