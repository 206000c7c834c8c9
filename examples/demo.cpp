// Two small servers to balance between, which `./dev run` starts: they greet everybody by their own
// name, and then give back what they are sent. Prints their addresses.
//     demo

#include "eplb/acceptor.hpp"
#include "eplb/reactor.hpp"
#include "eplb/signals.hpp"
#include "eplb/stream.hpp"

#include <array>
#include <exception>
#include <iostream>
#include <list>
#include <span>
#include <string>
#include <utility>

namespace {

using namespace eplb;

class Server {
public:
    Server(Reactor& reactor, std::string name)
        : reactor_{reactor},
          name_{std::move(name)},
          acceptor_{reactor, listen_on(Address::parse("127.0.0.1:0")),
                    [this](Fd guest, const Address&) { welcome(std::move(guest)); }} {
        std::cout << name_ << ' ' << local_address(acceptor_.listener()).to_string() << std::endl;
    }

private:
    class Guest final : public Task {
    public:
        Guest(Server& host, Fd socket)
            : host_{host}, stream_{host.reactor_, *this, std::move(socket)} {}

        Next run() override {  // one send or one receive, then others get their turn
            std::array<char, 4096> buffer;
            const bool talking = !text_.empty();
            const Stream::Result result =
                talking ? stream_.send(std::as_bytes(std::span{text_}))
                        : stream_.receive(std::as_writable_bytes(std::span{buffer}));
            if (result.status == Stream::Status::blocked) return Next::wait;
            if (result.status != Stream::Status::moved) return Next::done;
            text_ = talking ? text_.substr(result.bytes) : std::string{buffer.data(), result.bytes};
            return Next::again;
        }
        void retire() override {  // called after Next::done, when run() is over
            host_.guests_.remove_if([this](const Guest& guest) { return &guest == this; });
        }

    private:
        Server& host_;
        Stream stream_;
        std::string text_ = "hello from " + host_.name_ + "\n";
    };

    void welcome(Fd guest) { guests_.emplace_back(*this, std::move(guest)); }

    Reactor& reactor_;
    std::string name_;
    std::list<Guest> guests_;
    Acceptor acceptor_;
};

}  // namespace

int main() try {
    Reactor reactor;
    const SignalWatch signals{reactor, {SIGINT, SIGTERM}, [&](int) { reactor.stop(); }};
    Server alpha{reactor, "alpha"};
    Server beta{reactor, "beta"};
    reactor.run();
} catch (const std::exception& error) {
    std::cerr << "demo: " << error.what() << '\n';
    return 1;
}
