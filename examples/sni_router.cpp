// TLS clients are sent on by the server name that they ask for; whose name is not here is reset.
//     sni_router HERE NAME=THERE...        like :443 db.example.net=10.0.0.7:443

#include "eplb/acceptor.hpp"
#include "eplb/client_hello.hpp"
#include "eplb/connector.hpp"
#include "eplb/reactor.hpp"
#include "eplb/relay.hpp"
#include "eplb/signals.hpp"
#include "eplb/stream.hpp"

#include <iostream>
#include <list>
#include <map>
#include <optional>
#include <string>

using namespace eplb;

struct Client;
struct Router {
    Reactor reactor;
    RelayContext context;
    std::map<std::string, Address, std::less<>> servers;
    std::list<Client> clients;
};

struct Client final : Task {
    Client(Router& router, Fd socket)
        : router_{router}, stream_{router.reactor, *this, std::move(socket)} {
        timer_.start(std::chrono::seconds{10});
    }
    Next run() override {
        if (connector_) return Next::wait;  // the hello was read; the rest is the server's
        std::array<std::byte, max_client_hello_bytes> bytes;
        const auto [status, count, error] = stream_.peek(bytes, wanted_);
        const auto said = parse_client_hello(std::span{bytes}.first(count));
        wanted_ = said.needed_bytes;
        const bool waits = status < Stream::Status::ended && !timer_.take_fired();
        if (waits && said.status == ClientHelloResult::Status::incomplete) return Next::wait;
        const auto server = router_.servers.find(said.hello.server_name());
        if (said.status != ClientHelloResult::Status::complete || server == router_.servers.end())
            return stream_.reset_on_close(), Next::done;
        connector_.emplace(router_.reactor, server->second, [this](Fd there, int) {
            if (!there.valid()) return retire();
            relay_.emplace(router_.reactor, router_.context, stream_.release(), std::move(there),
                           RelayTimeouts{}, [this](const RelayResult&) { retire(); });
        });
        return Next::wait;
    }
    void retire() override {
        router_.clients.remove_if([&](auto& c) { return &c == this; });
    }

private:
    Router& router_;
    Stream stream_;
    Timer timer_{router_.reactor, *this};
    std::size_t wanted_ = 1;
    std::optional<Connector> connector_;
    std::optional<Relay> relay_;
};

int main(int argc, char** argv) try {
    if (argc < 3) throw std::invalid_argument{"usage: sni_router HERE NAME=THERE..."};
    Router router;
    const SignalWatch end{router.reactor, {SIGINT, SIGTERM}, [&](int) { router.reactor.stop(); }};
    for (const std::string route : std::span{argv + 2, argv + argc})
        router.servers[route.substr(0, route.find('='))] =
            Address::parse(route.substr(route.find('=') + 1));
    Acceptor acceptor{
        router.reactor, listen_on(Address::parse(argv[1])),
        [&](Fd client, const Address&) { router.clients.emplace_back(router, std::move(client)); }};
    std::cout << "routing " << local_address(acceptor.listener()).to_string() << std::endl;
    router.reactor.run();
} catch (const std::exception& error) {
    std::cerr << "sni_router: " << error.what() << '\n';
    return 1;
}
