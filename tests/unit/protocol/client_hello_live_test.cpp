// What the clients of this machine send today, over a real socket. What clients of other machines sent is
// in tests/data/client_hello.

#include "eplb/client_hello.hpp"

#include "support/catch.hpp"
#include "support/net.hpp"

#include <array>
#include <cstddef>
#include <filesystem>
#include <fmt/format.h>
#include <poll.h>
#include <span>
#include <spawn.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <csignal>
#include <fcntl.h>

using eplb::ClientHelloResult;
using eplb::Fd;
using eplb::parse_client_hello;
using Status = eplb::ClientHelloResult::Status;

namespace {

// A program that is started silent, and killed.
class Program {
public:
    explicit Program(std::vector<std::string> command) {
        std::vector<char*> arguments;
        for (std::string& word : command) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        for (const int fd : {0, 1, 2})
            posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
        const int error =
            posix_spawnp(&pid_, arguments[0], &files, nullptr, arguments.data(), environ);
        posix_spawn_file_actions_destroy(&files);
        if (error != 0) throw std::system_error{error, std::generic_category(), command[0]};
    }
    ~Program() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

private:
    pid_t pid_ = -1;
};

bool is_installed(const std::string& program) {
    return std::filesystem::exists("/usr/bin/" + program);
}

bool readable(const Fd& fd) {
    pollfd events{.fd = fd.get(), .events = POLLIN, .revents = 0};
    return ::poll(&events, 1, 60'000) == 1;
}

// As a router does it: looks at what has come, and says how much has to come before it looks again.
ClientHelloResult look(const Fd& client) {
    std::array<std::byte, eplb::max_client_hello_bytes> buffer;
    ClientHelloResult result = parse_client_hello({});
    while (result.status == Status::incomplete) {
        eplb::test::set_option(client, SOL_SOCKET, SO_RCVLOWAT,
                               static_cast<int>(result.needed_bytes));
        REQUIRE(readable(client));
        const ssize_t got = ::recv(client.get(), buffer.data(), buffer.size(), MSG_PEEK);
        REQUIRE(got >= static_cast<ssize_t>(result.needed_bytes));
        result = parse_client_hello(std::span{buffer}.first(static_cast<std::size_t>(got)));
    }
    return result;
}

ClientHelloResult hello_of(const std::string& program,
                           const std::vector<std::string>& options_for_port) {
    const Fd listener = eplb::test::listener();
    const std::string port = std::to_string(eplb::test::address_of(listener).port());
    std::vector<std::string> command{"/usr/bin/" + program};
    for (const std::string& option : options_for_port) {
        command.push_back(fmt::format(fmt::runtime(option), fmt::arg("port", port)));
    }
    const Program client{command};
    REQUIRE(readable(listener));
    return look(eplb::test::accept_one(listener));
}

}  // namespace

TEST_CASE("client hello: openssl's is read from its socket", "[protocol][client_hello][live]") {
    if (!is_installed("openssl")) EPLB_SKIP("there is no openssl here");
    const ClientHelloResult result =
        hello_of("openssl", {"s_client", "-connect", "127.0.0.1:{port}", "-servername",
                             "Live.Example.", "-alpn", "postgresql,h2"});
    REQUIRE(result.status == Status::complete);
    CHECK(result.hello.server_name() == "live.example");
    CHECK(*result.hello.alpn().begin() == "postgresql");
    CHECK(result.hello.alpn().contains("h2"));
    CHECK(result.hello.max_version() >= 0x0304);
}

TEST_CASE("client hello: one of openssl in several records is read from its socket",
          "[protocol][client_hello][live]") {
    if (!is_installed("openssl")) EPLB_SKIP("there is no openssl here");
    // With a key against quantum computers it is three.
    std::string protocols = "first";
    for (int i = 0; i < 80; ++i) protocols += fmt::format(",protocol-{}", i);
    const ClientHelloResult result =
        hello_of("openssl", {"s_client", "-connect", "127.0.0.1:{port}", "-servername",
                             "live.example", "-alpn", protocols, "-max_send_frag", "1024"});
    REQUIRE(result.status == Status::complete);
    CHECK(result.hello.server_name() == "live.example");
    CHECK(*result.hello.alpn().begin() == "first");
    CHECK(result.hello.alpn().cut());
}

TEST_CASE("client hello: curl's is read from its socket", "[protocol][client_hello][live]") {
    if (!is_installed("curl")) EPLB_SKIP("there is no curl here");
    const ClientHelloResult result =
        hello_of("curl", {"-q", "-s", "-k", "--noproxy", "*", "--http1.1", "--resolve",
                          "live.example:{port}:127.0.0.1", "https://live.example:{port}/"});
    REQUIRE(result.status == Status::complete);
    CHECK(result.hello.server_name() == "live.example");
    CHECK(result.hello.alpn().contains("http/1.1"));
    const ClientHelloResult other =
        hello_of("curl", {"-q", "-s", "--noproxy", "*", "http://127.0.0.1:{port}/"});
    CHECK(other.status == Status::not_tls);
}
