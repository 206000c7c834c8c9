#pragma once

#include "eplb/acceptor.hpp"
#include "support/catch.hpp"
#include "support/net.hpp"

#include <string>
#include <unistd.h>
#include <vector>

namespace eplb::test {

/// A Unix socket whose backlog is full: connect(2) says EAGAIN.
struct FullUnixSocket {
    FullUnixSocket() {
        for (int i = 0; i < 10; ++i) {
            Fd client = connect_to(address);
            if (!client.valid()) return;
            clients.push_back(std::move(client));
        }
        FAIL("there seems to be no end of this backlog");
    }
    /// Room for one.
    void accept_one() {
        accepted.push_back(test::accept_one(listener));
        REQUIRE(accepted.back().valid());
    }

    static inline int made = 0;
    Address address = Address::parse("unix:@eplb-full-" + std::to_string(::getpid()) + "-" +
                                     std::to_string(++made));
    Fd listener = listen_on(address, {.backlog = 1});
    std::vector<Fd> clients;
    std::vector<Fd> accepted;
};

}  // namespace eplb::test
