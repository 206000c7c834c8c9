// Gives back what it is sent, to thousands of clients at once, on one thread.
//     echo_server ADDRESS        like 127.0.0.1:7777, :7777 or unix:/tmp/echo

#include "eplb/acceptor.hpp"
#include "eplb/reactor.hpp"
#include "eplb/signals.hpp"
#include "eplb/stream.hpp"

#include <array>
#include <exception>
#include <iostream>
#include <list>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

using namespace eplb;

// One client. The reactor runs it whenever its socket has news.
class Echo final : public Task {
public:
    Echo(Reactor& reactor, Fd socket, std::list<Echo>& all)
        : stream_{reactor, *this, std::move(socket)}, all_{all} {}

    // One read, then others get their turn. Who does not take the echo is not read from.
    Next run() override {
        if (!rest_.empty()) return give(rest_);
        // One for all: it is empty between two runs.
        static std::array<std::byte, 64 * 1024> buffer;
        const Stream::Result got = stream_.receive(buffer);
        if (got.status == Stream::Status::blocked) return Next::wait;
        if (got.status != Stream::Status::moved) return Next::done;
        return give(std::span{buffer}.first(got.bytes));
    }

    void retire() override { all_.erase(place); }  // called after Next::done

    std::list<Echo>::iterator place;  // in `all`

private:
    Next give(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const Stream::Result sent = stream_.send(bytes);
            if (sent.status == Stream::Status::failed) return Next::done;
            if (sent.status == Stream::Status::blocked) break;
            bytes = bytes.subspan(sent.bytes);
        }
        rest_ = {bytes.begin(), bytes.end()};
        // There may be more to read, and no event will tell of what the stream knows already.
        return rest_.empty() && stream_.watch().readable() ? Next::again : Next::wait;
    }

    Stream stream_;
    std::list<Echo>& all_;
    std::vector<std::byte> rest_;
};

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 2) throw std::invalid_argument{"usage: echo_server ADDRESS"};
    Reactor reactor;
    const SignalWatch signals{reactor, {SIGINT, SIGTERM}, [&](int) { reactor.stop(); }};
    std::list<Echo> echoes;
    Acceptor acceptor{reactor, listen_on(Address::parse(argv[1])), [&](Fd socket, const Address&) {
                          echoes.emplace_front(reactor, std::move(socket), echoes);
                          echoes.front().place = echoes.begin();
                      }};
    std::cout << "echo on " << local_address(acceptor.listener()).to_string() << std::endl;
    reactor.run();
} catch (const std::exception& error) {
    std::cerr << "echo_server: " << error.what() << '\n';
    return 1;
}
