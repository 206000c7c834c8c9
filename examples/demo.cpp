// Two small servers to balance between, made with eplb's reactor, and a client to see who answers.
//     demo                   serves as "alpha" and "beta" until SIGINT; prints their addresses
//     demo --visit ADDR N    connects to ADDR N times and prints each greeting

#include "eplb/acceptor.hpp"
#include "eplb/reactor.hpp"
#include "eplb/signals.hpp"

#include <array>
#include <cerrno>
#include <iostream>
#include <list>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/time.h>
#include <utility>

namespace {

using namespace eplb;

/// Greets everybody who connects, and gives back what they send.
class Greeter {
public:
    Greeter(Reactor& reactor, std::string name)
        : reactor_{reactor},
          name_{std::move(name)},
          acceptor_{reactor, listen_on(Address::parse("127.0.0.1:0")),
                    [this](Fd socket, const Address&) { welcome(std::move(socket)); }} {
        const Address here = local_address(acceptor_.listener());
        std::cout << name_ << ' ' << here.to_string() << '\n' << std::flush;
    }

private:
    class Guest final : public Task {  // one connection; runs whenever its socket has news
    public:
        Guest(Greeter& host, Fd socket)
            : host_{host},
              socket_{std::move(socket)},
              watch_{host.reactor_, *this},
              answer_{"hello from " + host.name_ + "\n"} {}
        [[nodiscard]] int start() noexcept { return watch_.attach(socket_.get()); }

        // One send, one recv, then others get their turn. Who does not read is not read from.
        Next run() override {
            const int fd = socket_.get();
            if (!answer_.empty() && watch_.writable()) {
                const auto sent = ::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
                if (sent < 0 && errno != EAGAIN) return Next::done;
                if (sent < 0) watch_.clear_writable();
                if (sent > 0) answer_.erase(0, static_cast<std::size_t>(sent));
            }
            if (!answer_.empty()) return watch_.writable() ? Next::again : Next::wait;
            if (!watch_.readable()) return Next::wait;

            std::array<char, 4096> buffer;
            const auto got = ::recv(fd, buffer.data(), buffer.size(), 0);
            if (got == 0 || (got < 0 && errno != EAGAIN)) return Next::done;
            if (got < 0) watch_.clear_readable();
            if (got > 0) answer_.assign(buffer.data(), static_cast<std::size_t>(got));
            return Next::again;
        }

        void retire() noexcept override {  // called after Next::done, outside of run()
            host_.guests_.remove_if([this](const Guest& guest) { return &guest == this; });
        }

    private:
        Greeter& host_;
        Fd socket_;  // before its watch: members die in reverse order
        Watch watch_;
        std::string answer_;
    };

    void welcome(Fd socket) {
        if (guests_.emplace_back(*this, std::move(socket)).start() != 0) guests_.pop_back();
    }

    Reactor& reactor_;
    std::string name_;
    Acceptor acceptor_;
    std::list<Guest> guests_;
};

void serve() {
    Reactor reactor;
    SignalWatch signals{reactor, {SIGINT, SIGTERM}, [&reactor](int) { reactor.stop(); }};
    Greeter alpha{reactor, "alpha"};
    Greeter beta{reactor, "beta"};
    reactor.run();
}

/// A plain blocking client; waits five seconds for the greeting.
void visit(const Address& address) {
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    const Fd socket{::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::array<char, 256> buffer;
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0)
        throw std::runtime_error{"cannot connect to " + address.to_string()};
    const auto got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) throw std::runtime_error{"no greeting from " + address.to_string()};
    std::cout.write(buffer.data(), got);
}

}  // namespace

int main(int argc, char** argv) try {
    const bool visiting = argc == 4 && std::string{argv[1]} == "--visit";
    if (!visiting && argc != 1) throw std::runtime_error{"usage: demo [--visit ADDRESS TIMES]"};
    if (!visiting) serve();
    for (int i = 0; visiting && i < std::stoi(argv[3]); ++i) visit(Address::parse(argv[2]));
} catch (const std::exception& error) {
    std::cerr << "demo: " << error.what() << '\n';
    return 1;
}
