#include "eplb/health_check.hpp"

#include "support/catch.hpp"

using eplb::Address;
using eplb::CheckConfig;

TEST_CASE("check_config: who is asked", "[health][check_config]") {
    const Address backend = Address::parse("192.0.2.1:3306");
    const Address unix_backend = Address::parse("unix:/run/db.sock");
    CheckConfig config;
    CHECK(config.target(backend) == backend);
    CHECK(config.target(unix_backend) == unix_backend);

    config.port = 8008;
    CHECK(config.target(backend) == Address::parse("192.0.2.1:8008"));
    CHECK(config.target(unix_backend) == unix_backend);

    config.address = Address::parse("192.0.2.9:1");
    CHECK(config.target(backend) == Address::parse("192.0.2.9:8008"));
    config.port.reset();
    CHECK(config.target(unix_backend) == Address::parse("192.0.2.9:1"));
}

TEST_CASE("check_config: a difference is one", "[health][check_config]") {
    CheckConfig config;
    CHECK(config == CheckConfig{});
    config.statuses.push_back({500, 500});
    CHECK_FALSE(config == CheckConfig{});
}
