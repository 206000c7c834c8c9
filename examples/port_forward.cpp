// Whoever connects here is connected to there.
//     port_forward HERE THERE        like :8080 10.0.0.7:80

#include "eplb/acceptor.hpp"
#include "eplb/connector.hpp"
#include "eplb/reactor.hpp"
#include "eplb/relay.hpp"
#include "eplb/signals.hpp"

#include <cstring>
#include <exception>
#include <iostream>
#include <list>
#include <optional>
#include <stdexcept>
#include <utility>

namespace {

using namespace eplb;

struct Forward {  // one client: first `there` is connected to, then the two are joined
    Fd client;
    std::optional<Connector> connector;
    std::optional<Relay> relay;
};

void forward(const Address& here, const Address& there) {
    Reactor reactor;
    const SignalWatch signals{reactor, {SIGINT, SIGTERM}, [&](int) { reactor.stop(); }};
    RelayContext context;  // the pipes and the buffer that all relays share
    std::list<Forward> forwards;

    Acceptor acceptor{
        reactor, listen_on(here), [&](Fd client, const Address& peer) {
            const auto it = forwards.emplace(forwards.end());
            it->client = std::move(client);
            it->connector.emplace(reactor, there, [&, it, peer](Fd server, int error) {
                if (!server.valid()) {
                    std::cout << peer.to_string() << ": " << std::strerror(error) << std::endl;
                    forwards.erase(it);
                    return;
                }
                try {
                    it->relay.emplace(reactor, context, std::move(it->client), std::move(server),
                                      RelayTimeouts{}, [&, it, peer](const RelayResult& result) {
                                          std::cout << peer.to_string() << ": " << result.bytes_up
                                                    << " up, " << result.bytes_down << " down, "
                                                    << to_string(result.reason) << std::endl;
                                          forwards.erase(it);
                                      });
                } catch (const std::exception& error) {  // both are closed, and nobody will tell
                    std::cout << peer.to_string() << ": " << error.what() << std::endl;
                    forwards.erase(it);
                }
            });
        }};
    std::cout << "forwarding " << local_address(acceptor.listener()).to_string() << std::endl;
    reactor.run();
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 3) throw std::invalid_argument{"usage: port_forward HERE THERE"};
    forward(Address::parse(argv[1]), Address::parse(argv[2]));
} catch (const std::exception& error) {
    std::cerr << "port_forward: " << error.what() << '\n';
    return 1;
}
