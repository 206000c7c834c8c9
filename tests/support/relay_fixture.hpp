#pragma once

#include "eplb/reactor.hpp"
#include "eplb/relay.hpp"
#include "support/net.hpp"
#include "support/peer.hpp"

#include <memory>
#include <optional>
#include <utility>

namespace eplb::test {

/// All the ways to move bytes, to be had by GENERATE(values(all_relay_modes)).
inline const auto all_relay_modes = {RelayMode::automatic, RelayMode::splice, RelayMode::copy};

/// client <-TCP-> relay <-TCP-> server, all in one process and on one thread.
class RelayFixture {
public:
    struct Options {
        RelayContext::Options context = {};
        RelayTimeouts timeouts = {};
        PairOptions client_pair = {};  ///< near is the client, far the relay
        PairOptions server_pair = {};  ///< near is the relay, far the server
        bool unix_sockets = false;     ///< instead of TCP
        DescriptorBudget* budget = nullptr;
    };

    RelayFixture() : RelayFixture{Options{}} {}
    explicit RelayFixture(Options options) : context{std::move(options.context), options.budget} {
        Pair to_client = options.unix_sockets ? unix_pair() : tcp_pair(options.client_pair);
        Pair to_server = options.unix_sockets ? unix_pair() : tcp_pair(options.server_pair);
        client = Peer{std::move(to_client.near)};
        server = Peer{std::move(to_server.far)};
        relay = std::make_unique<Relay>(reactor, context, std::move(to_client.far),
                                        std::move(to_server.near), options.timeouts,
                                        [this](const RelayResult& end) {
                                            ++ends;
                                            result = end;
                                            relay.reset();
                                        });
        loop.add(client);
        loop.add(server);
    }

    [[nodiscard]] bool over() const { return result.has_value(); }

    /// Lets time pass in small steps, for what waits for a timer of its own, until `done()`.
    template <class Predicate>
    [[nodiscard]] bool until_with_time(Predicate done, Duration step, int steps) {
        for (int i = 0; i < steps; ++i) {
            if (!loop.settle()) return false;
            if (done()) return true;
            clock.advance(step);
        }
        return done();
    }

    ManualClock clock;
    Reactor reactor{clock};
    RelayContext context;
    Loop loop{reactor};
    Peer client;
    Peer server;
    std::unique_ptr<Relay> relay;
    std::optional<RelayResult> result;
    int ends = 0;
};

}  // namespace eplb::test
