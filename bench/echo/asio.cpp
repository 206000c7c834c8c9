// Gives back what it is sent, on standalone Asio.
//     echo-asio HOST:PORT
//
// With what makes it fast: a context that knows of its single thread, sockets that know the type of
// their executor, and a write that is tried at once, so that only what the kernel does not take
// becomes an operation.

#include <array>
#include <asio.hpp>
#include <chrono>
#include <cstddef>
#include <exception>
#include <iostream>
#include <netinet/tcp.h>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

using asio::ip::tcp;
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Listener = asio::basic_socket_acceptor<tcp, Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;

// As eplb's listeners have, which set TCP_NODELAY as well.
constexpr int backlog = 4096;
constexpr int keepalive_seconds = 60;
using KeepaliveIdle = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>;

// One client. It has one operation at a time, and deletes itself when there is none to follow.
class Echo {
public:
    explicit Echo(Socket socket) : socket_{std::move(socket)} {}

    void start() {
        std::error_code error;
        socket_.non_blocking(true, error);  // or write_some() would wait
        if (error) return end();
        receive();
    }

private:
    // Asio does not take a short read as proof that the socket is drained, so this begins with a
    // recv(2) that mostly says EAGAIN. async_wait() and a read of ours behind it would spare that,
    // but be an epoll_ctl(2) each time: two percent dearer, measured.
    void receive() {
        socket_.async_read_some(asio::buffer(buffer_),
                                [this](const std::error_code& error, std::size_t got) {
                                    if (error) return end();
                                    give(got);
                                });
    }

    void give(std::size_t size) {
        std::error_code error;
        const std::size_t sent = socket_.write_some(asio::buffer(buffer_, size), error);
        if (error && error != asio::error::would_block) return end();
        if (sent == size) return receive();
        asio::async_write(socket_, asio::buffer(buffer_.data() + sent, size - sent),
                          [this](const std::error_code& failure, std::size_t) {
                              if (failure) return end();
                              receive();
                          });
    }

    void end() { delete this; }

    Socket socket_;
    // Each its own: a read that waits holds on to it. What is never filled takes no memory.
    std::array<std::byte, 64 * 1024> buffer_;
};

class Server {
public:
    Server(asio::io_context& context, const tcp::endpoint& address)
        : listener_{context, address.protocol()}, retry_{context} {
        listener_.set_option(tcp::acceptor::reuse_address{true});
        // Accepted sockets inherit these, tcp(7).
        listener_.set_option(tcp::no_delay{true});
        listener_.set_option(asio::socket_base::keep_alive{true});
        listener_.set_option(KeepaliveIdle{keepalive_seconds});
        listener_.bind(address);
        listener_.listen(backlog);
        accept();
    }

private:
    void accept() {
        listener_.async_accept([this](const std::error_code& error, Socket socket) {
            if (!error) (new Echo{std::move(socket)})->start();
            if (error == std::errc::too_many_files_open ||
                error == std::errc::too_many_files_open_in_system ||
                error == std::errc::no_buffer_space || error == std::errc::not_enough_memory) {
                retry_.expires_after(std::chrono::milliseconds{100});
                retry_.async_wait([this](const std::error_code&) { accept(); });
                return;
            }
            accept();
        });
    }

    Listener listener_;
    Timer retry_;
};

tcp::endpoint parse(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) throw std::invalid_argument{"usage: echo-asio HOST:PORT"};
    const int port = std::stoi(std::string{text.substr(colon + 1)});
    return {asio::ip::make_address(text.substr(0, colon)), static_cast<asio::ip::port_type>(port)};
}

}  // namespace

int main(int argc, char** argv) try {
    const std::span<char*> arguments{argv, static_cast<std::size_t>(argc)};
    if (arguments.size() != 2) throw std::invalid_argument{"usage: echo-asio HOST:PORT"};
    if (std::string_view{arguments[1]} == "--version") {
        std::cout << "Asio " << ASIO_VERSION / 100000 << '.' << ASIO_VERSION / 100 % 1000 << '.'
                  << ASIO_VERSION % 100 << '\n';
        return 0;
    }
    asio::io_context context{1};
    const Server server{context, parse(arguments[1])};
    context.run();
} catch (const std::exception& error) {
    std::cerr << "echo-asio: " << error.what() << '\n';
    return 1;
}
