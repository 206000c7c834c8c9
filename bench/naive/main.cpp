// The naive design, for comparison: a thread for each accepted connection, which dials a backend
// and starts a thread for each direction; all of them block.
//
//     naive-threads copy|splice LISTEN BACKEND...        addresses like 127.0.0.1:80
//
// When it runs out of threads, memory or descriptors it says so, closes that client and goes on.

#include "eplb/address.hpp"
#include "session.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <netinet/tcp.h>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace naive {
namespace {

using eplb::Address;
using eplb::Fd;

constexpr int backlog = 4096;

std::system_error failure(const std::string& what) {
    return {errno, std::generic_category(), what};
}

void no_delay(const Fd& socket) noexcept {
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Fd listen_on(const Address& address) {
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    Fd socket{::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    no_delay(socket);  // accepted sockets inherit it, tcp(7)
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0 ||
        ::listen(socket.get(), backlog) != 0)
        throw failure("cannot listen on " + address.to_string());
    return socket;
}

Fd dial(const Address& address) {
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    Fd socket{::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!socket.valid()) throw failure("cannot open a socket to the backend");
    no_delay(socket);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0)
        throw failure("cannot connect to the backend");
    return socket;
}

// The body of a connection's thread.
void serve(Fd client, const Address& backend, Mode mode) {
    try {
        const auto session = std::make_shared<Session>();
        session->client = std::move(client);
        session->server = dial(backend);
        std::thread{[session, mode] {
            move_all(*session, session->client, session->server, mode);
        }}.detach();
        try {
            std::thread{[session, mode] {
                move_all(*session, session->server, session->client, mode);
            }}.detach();
        } catch (const std::system_error&) {
            session->break_off();  // the other direction has started
            throw;
        }
    } catch (const std::system_error& error) {
        complain(error.code() == std::errc::resource_unavailable_try_again
                     ? "cannot start a thread for a direction"
                     : "cannot serve a client",
                 error.code().value());
    } catch (const std::bad_alloc&) {
        complain("cannot serve a client", ENOMEM);
    }
}

void accept_all(const Fd& listener, const std::vector<Address>& backends, Mode mode) {
    for (std::size_t next = 0;;) {
        Fd client{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        if (!client.valid()) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            complain("cannot accept a client", errno);
            std::this_thread::sleep_for(std::chrono::milliseconds{5});
            continue;
        }
        const Address& backend = backends[next++ % backends.size()];
        try {
            std::thread{serve, std::move(client), std::cref(backend), mode}.detach();
        } catch (const std::system_error& error) {
            complain("cannot start a thread for a client", error.code().value());
        }
    }
}

}  // namespace
}  // namespace naive

int main(int argc, char** argv) {
    using namespace naive;
    const std::vector<std::string_view> arguments{argv + 1, argv + argc};
    if (arguments.size() < 3 || (arguments[0] != "copy" && arguments[0] != "splice")) {
        std::fprintf(stderr, "usage: naive-threads copy|splice LISTEN BACKEND...\n");
        return 2;
    }
    try {
        std::signal(SIGPIPE, SIG_IGN);  // splice(2) raises it and takes no MSG_NOSIGNAL
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
        std::vector<Address> backends;
        for (std::size_t i = 2; i < arguments.size(); ++i)
            backends.push_back(Address::parse(arguments[i]));
        const Fd listener = listen_on(Address::parse(arguments[1]));
        accept_all(listener, backends, arguments[0] == "splice" ? Mode::splice : Mode::copy);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "naive-threads: %s\n", error.what());
        return 1;
    }
}
