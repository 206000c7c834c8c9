#pragma once

#include "process.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace eplb::bench {

/// Where a proxy listens, and what is behind it.
struct Route {
    std::string host;
    std::uint16_t port = 0;
    std::vector<std::string> backends;
    std::filesystem::path directory;  ///< for its configuration

    [[nodiscard]] std::string listen() const;
};

/// Which program a design is of; the targets compare families.
enum class Family : std::uint8_t { direct, eplb, naive_threads, naive_go, haproxy, nginx, echo };

/// A way to get from the load to the backends; or, of the family `echo`, a server that answers by
/// itself, which no default selection has.
struct Design {
    std::string name;
    Family family = Family::direct;
    std::string what{};     ///< for --list
    std::string version{};  ///< what the program says of itself
    /// Whether it runs on one processor, apart from load and backends. Without, nothing is pinned.
    bool pinned = true;
    /// What to start for a route, after writing its configuration. None: no proxy.
    std::function<Command(const Route&)> command{};
};

/// Paths of programs; empty: not there.
struct Programs {
    /// Of --eplb NAME=PATH[,ARGUMENT]...
    struct Build {
        std::string name;
        std::string path;
        std::vector<std::string> arguments;
    };

    std::string eplb;
    std::vector<Build> builds;
    std::string haproxy;
    std::string nginx;
    std::string naive_threads;
    std::string go;
    std::string go_source;
    /// Servers that echo, on eplb's reactor and on others.
    std::string echo_eplb;
    std::string echo_eplb_static;
    std::string echo_epoll;
    std::string echo_libuv;
    std::string echo_asio;
};

/// Every design that can run here, in the order of the tables, and why others cannot.
struct Designs {
    std::vector<Design> available;
    std::vector<std::string> missing;
};
[[nodiscard]] Designs find_designs(const Programs& programs);

/// Compiles the Go design into `directory` and makes `design` run it. Throws std::runtime_error
/// with the compiler's words.
void build_go(Design& design, const Programs& programs, const std::filesystem::path& directory);

/// The path of an executable: `name` itself if it has a slash, else looked up in PATH and in the
/// sbin directories. Empty when there is none.
[[nodiscard]] std::string find_program(const std::string& name);

}  // namespace eplb::bench
