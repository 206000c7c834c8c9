#include "design.hpp"

#include "peers.hpp"
#include "temp_dir.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fmt/format.h>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <unistd.h>

namespace eplb::bench {
namespace {

using namespace std::chrono_literals;

constexpr Duration answer_limit = 10s;

std::string first_line(std::string text) {
    text.erase(std::ranges::find(text, '\n'), text.end());
    return text;
}

std::string version_of(const Command& command) {
    return first_line(output_of(command, answer_limit).value_or(""));
}

Command eplb_command(const std::string& path, const std::vector<std::string>& arguments,
                     const Route& route) {
    Command command{path, "-l", route.listen()};
    for (const std::string& backend : route.backends) {
        command.emplace_back("-b");
        command.push_back(backend);
    }
    command.emplace_back("-q");
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
}

// `arguments` come behind ours, and what they say about workers decides about pinning.
Design eplb_design(std::string name, std::string what, const std::string& path,
                   const std::vector<std::string>& arguments, std::string version) {
    Design design{.name = std::move(name),
                  .family = Family::eplb,
                  .what = std::move(what),
                  .version = std::move(version)};
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        const std::string next = i + 1 < arguments.size() ? arguments[i + 1] : "";
        const bool one = word == "-w1" || word == "--workers=1" ||
                         ((word == "-w" || word == "--workers") && next == "1");
        if ((word.starts_with("-w") || word.starts_with("--workers")) && !one)
            design.pinned = false;
    }
    design.command = [path, arguments](const Route& route) {
        return eplb_command(path, arguments, route);
    };
    return design;
}

void add_eplb(Designs& designs, const std::string& path) {
    const auto help = output_of({path, "--help"}, answer_limit);
    if (!help) {
        designs.missing.push_back(
            fmt::format("eplb: {} does not run; build it or use --eplb PATH", path));
        return;
    }
    const std::string version = version_of({path, "--version"});
    for (const char* mode : {"auto", "splice", "copy"}) {
        designs.available.push_back(eplb_design(fmt::format("eplb-{}", mode),
                                                fmt::format("eplb --relay {}", mode), path,
                                                {"--relay", mode}, version));
    }
    const unsigned processors = std::max(2U, std::thread::hardware_concurrency());
    if (help->find("--workers") == std::string::npos) {
        designs.missing.emplace_back("eplb with several workers: this build has no --workers");
        return;
    }
    designs.available.push_back(eplb_design(fmt::format("eplb-w{}", processors),
                                            fmt::format("eplb -w {}, not pinned", processors), path,
                                            {"-w", std::to_string(processors)}, version));
}

void add_naive(Designs& designs, const Programs& programs) {
    const std::string& path = programs.naive_threads;
    if (find_program(path).empty()) {
        designs.missing.push_back(fmt::format("threads: {} is not built", path));
    } else {
        for (const char* mode : {"copy", "splice"}) {
            Design design{.name = fmt::format("threads-{}", mode),
                          .family = Family::naive_threads,
                          .what = fmt::format("two blocking threads per connection, {}", mode)};
            design.command = [path, mode = std::string{mode}](const Route& route) {
                Command command{path, mode, route.listen()};
                command.insert(command.end(), route.backends.begin(), route.backends.end());
                return command;
            };
            designs.available.push_back(std::move(design));
        }
    }
    if (programs.go.empty()) {
        designs.missing.emplace_back("naive-go: there is no go compiler; Debian: golang-go");
        return;
    }
    designs.available.push_back({.name = "naive-go",
                                 .family = Family::naive_go,
                                 .what = "three goroutines and two io.Copy per connection",
                                 .version = version_of({programs.go, "version"})});
}

void add_haproxy(Designs& designs, const std::string& path) {
    const std::string version = path.empty() ? "" : version_of({path, "-v"});
    if (version.empty()) {
        designs.missing.emplace_back(
            "haproxy: not installed; Debian: haproxy, or use --haproxy PATH");
        return;
    }
    for (const bool splice : {false, true}) {
        Design design{
            .name = splice ? "haproxy-splice" : "haproxy",
            .family = Family::haproxy,
            .what = splice ? "HAProxy, mode tcp, option splice-auto" : "HAProxy, mode tcp",
            .version = version};
        design.command = [path, splice](const Route& route) {
            return haproxy_command(path, route, splice);
        };
        designs.available.push_back(std::move(design));
    }
}

void add_nginx(Designs& designs, const std::string& path) {
    const auto text = path.empty() ? std::nullopt : output_of({path, "-V"}, answer_limit);
    if (!text) {
        designs.missing.emplace_back(
            "nginx: not installed; Debian: nginx-light, or use --nginx PATH");
        return;
    }
    const StreamModule module = find_stream_module(*text);
    if (!module.found) {
        designs.missing.emplace_back("nginx: it has no stream module; Debian: libnginx-mod-stream");
        return;
    }
    Design design{.name = "nginx",
                  .family = Family::nginx,
                  .what = "nginx, stream module",
                  .version = first_line(*text)};
    design.command = [path, file = module.path](const Route& route) {
        return nginx_command(path, file, route);
    };
    designs.available.push_back(std::move(design));
}

void add_echo(Designs& designs, const Programs& programs) {
    struct Server {
        const char* name;
        const char* what;
        const std::string& path;
        const char* remedy;
    };
    const std::array<Server, 5> servers{
        {{"echo-epoll", "echo server, a bare epoll loop in C", programs.echo_epoll, ""},
         {"echo-eplb", "echo server, examples/echo_server.cpp with the shared library",
          programs.echo_eplb, "; configure with -Dexamples=true"},
         {"echo-eplb-static", "echo server, the same linked as eplb itself is",
          programs.echo_eplb_static, ""},
         {"echo-libuv", "echo server, libuv", programs.echo_libuv,
          "; Debian: libuv1-dev, before configuring"},
         {"echo-asio", "echo server, standalone Asio", programs.echo_asio,
          "; Debian: libasio-dev, before configuring"}}};
    for (const Server& server : servers) {
        if (server.path.empty() || find_program(server.path).empty()) {
            designs.missing.push_back(
                fmt::format("{}: it is not built{}", server.name, server.remedy));
            continue;
        }
        Design design{.name = server.name,
                      .family = Family::echo,
                      .what = server.what,
                      .version = version_of({server.path, "--version"})};
        design.command = [path = server.path](const Route& route) {
            return Command{path, route.listen()};
        };
        designs.available.push_back(std::move(design));
    }
}

}  // namespace

std::string Route::listen() const { return fmt::format("{}:{}", host, port); }

Designs find_designs(const Programs& programs) {
    Designs designs;
    designs.available.push_back({.name = "direct", .what = "no proxy in between"});
    add_eplb(designs, programs.eplb);
    for (const Programs::Build& build : programs.builds) {
        const std::string version = version_of({build.path, "--version"});
        if (version.empty())
            throw std::runtime_error{
                fmt::format("--eplb {}={}: it does not run", build.name, build.path)};
        std::string what = build.path;
        for (const std::string& word : build.arguments) what += " " + word;
        designs.available.push_back(
            eplb_design(build.name, what, build.path, build.arguments, version));
    }
    add_naive(designs, programs);
    add_haproxy(designs, programs.haproxy);
    add_nginx(designs, programs.nginx);
    add_echo(designs, programs);
    return designs;
}

void build_go(Design& design, const Programs& programs, const std::filesystem::path& directory) {
    const std::string binary = (directory / "naive-go").string();
    Command compile{"/usr/bin/env", "GO111MODULE=off", "GOFLAGS=", "GOTOOLCHAIN=local"};
    if (std::getenv("HOME") == nullptr)  // go keeps what it compiled there, or else fails
        compile.push_back("GOCACHE=" + (directory / "go-cache").string());
    compile.insert(compile.end(), {programs.go, "build", "-o", binary, programs.go_source});
    Child compiler{compile, {.errors = directory / "go.err"}};
    if (!compiler.wait(std::chrono::steady_clock::now() + 120s) || !compiler.succeeded()) {
        throw std::runtime_error{
            fmt::format("cannot build the Go design: {}", tail_of(directory / "go.err"))};
    }
    design.command = [binary](const Route& route) {
        Command command{binary, route.listen()};
        command.insert(command.end(), route.backends.begin(), route.backends.end());
        return command;
    };
}

std::string find_program(const std::string& name) {
    if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
    const char* const path = std::getenv("PATH");
    std::istringstream directories{
        fmt::format("{}:/usr/local/sbin:/usr/sbin:/sbin", path == nullptr ? "" : path)};
    for (std::string directory; std::getline(directories, directory, ':');) {
        const std::string file = directory + "/" + name;
        if (!directory.empty() && ::access(file.c_str(), X_OK) == 0) return file;
    }
    return {};
}

}  // namespace eplb::bench
