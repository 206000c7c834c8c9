#include "app/reload_command.hpp"

#include "app/command_line.hpp"
#include "config/config_file.hpp"
#include "config/config_text.hpp"
#include "control/control_protocol.hpp"
#include "eplb/address.hpp"
#include "eplb/fd.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <utility>

namespace eplb::app {
namespace {

using control::Reloader;
using Kind = Reloader::Outcome::Kind;

// A name server may take its time.
constexpr timeval patience{.tv_sec = 120, .tv_usec = 0};

bool is_timeout(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK; }

[[noreturn]] void give_up(const std::string& where) {
    throw std::runtime_error(
        fmt::format("eplb on {} has not answered for {} s", where, patience.tv_sec));
}

struct RawOptions {
    std::string config;
    std::string control;
    bool dry_run = false;
    bool force = false;
    bool strict = false;
    bool expand_env = false;
    bool help = false;
};

void define_options(CLI::App& app, RawOptions& raw) {
    app.description(
        "Example: eplb reload --dry-run -c eplb.toml\n\n"
        "Has the running eplb read its configuration file again, or, with --dry-run,\n"
        "tell what FILE would change.");
    app.add_option("-c,--config", raw.config, "The file; it says where the control socket is")
        ->type_name("FILE");
    app.add_option("--control", raw.control, "The control socket, if FILE does not say")
        ->type_name("ADDR");
    app.add_flag("-n,--dry-run", raw.dry_run, "Change nothing, only tell what would change");
    app.add_flag(
        "--force", raw.force,
        "Even if a service is left without backends, or\nan interface or source is not there now");
    app.add_flag("--strict", raw.strict, "Warnings about the configuration are errors");
    app.add_flag(
        "--expand-env", raw.expand_env,
        "Replace ${NAME} in FILE's control key; the rest\nis the running process's affair");
    app.add_flag("-h,--help", raw.help, "Print this and leave");
    app.footer(
        "\nExit status: 0 done, or nothing would change; 3 something would change;\n"
        "2 bad usage or configuration; 1 refused, or could not be done.\n");
}

[[noreturn]] void reject(const CLI::App& app, const std::string& word) {
    if (!word.starts_with('-')) throw UsageError(fmt::format("unexpected argument \"{}\"", word));
    std::vector<std::string> names;
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
    throw UsageError(unknown_option(word, names));
}

// What the file says, even if something else in it is wrong: that is for the process to judge.
std::string control_of(const RawOptions& raw) {
    if (!raw.control.empty()) return raw.control;
    control::ConfigSource source;
    source.file = raw.config;
    source.expand_env = raw.expand_env;
    const control::LoadedConfig config = control::load_config(source);
    const std::string& control = config.settings.process.values.control;
    if (control != "off") return control;
    if (config.diagnostics.has_errors()) throw control::ConfigError(config.report(source));
    throw UsageError(fmt::format(
        "{} has no control socket, so there is no way to the running process; add: control = "
        "\"unix:/run/eplb/control.sock\", or send it SIGHUP",
        raw.config));
}

Fd connect_to(const std::string& where) {
    const Address address = Address::parse(where);
    if (!address.is_unix()) throw UsageError(fmt::format("--control: {} is no Unix socket", where));
    Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!fd.valid()) throw fmt::system_error(errno, "cannot make a socket for {}", where);
    sockaddr_storage raw{};
    const socklen_t length = address.to_sockaddr(raw);
    for (const int time_limit : {SO_RCVTIMEO, SO_SNDTIMEO}) {
        static_cast<void>(
            ::setsockopt(fd.get(), SOL_SOCKET, time_limit, &patience, sizeof patience));
    }
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&raw), length) != 0) {
        if (is_timeout(errno)) give_up(where);
        throw fmt::system_error(errno, "cannot reach eplb on {}{}", where,
                                errno == ENOENT || errno == ECONNREFUSED
                                    ? " (is it running, with this control socket?)"
                                    : "");
    }
    return fd;
}

// A line; what ends before it does is no answer.
std::string ask(const Fd& fd, const std::string& where, const std::string& request) {
    if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
        throw fmt::system_error(errno, "cannot ask eplb on {}", where);
    }
    std::string answer;
    std::array<char, 4096> buffer;
    for (;;) {
        const ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && is_timeout(errno)) give_up(where);
        if (got < 0) throw fmt::system_error(errno, "no answer from eplb on {}", where);
        if (got == 0 && answer.ends_with('\n')) return answer;
        if (got == 0)
            throw std::runtime_error(fmt::format("eplb on {} left before it answered", where));
        answer.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

Reloader::Outcome read(const std::string& answer, const std::string& where) {
    try {
        return control::decode_outcome(answer);
    } catch (const std::invalid_argument& error) {
        throw std::runtime_error(
            fmt::format("cannot make sense of what eplb on {} answers: {}", where, error.what()));
    }
}

int exit_code_of(Kind kind, bool dry_run) noexcept {
    switch (kind) {
    case Kind::unchanged: return 0;
    case Kind::changed: return dry_run ? 3 : 0;
    case Kind::invalid: return 2;
    case Kind::refused:
    case Kind::failed: break;
    }
    return 1;
}

}  // namespace

std::vector<Flag> reload_flags() {
    RawOptions raw;
    CLI::App app;
    app.set_help_flag();
    define_options(app, raw);
    return flags_of(app);
}

int run_reload_command(std::vector<std::string> arguments) {
    RawOptions raw;
    CLI::App app;
    app.name("eplb reload");
    app.set_help_flag();
    app.allow_extras();
    define_options(app, raw);
    try {
        std::ranges::reverse(arguments);  // CLI11 takes them from the back
        app.parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
        throw UsageError(option_problem(error.what()));
    }
    if (raw.help) {
        fmt::print("{}", app.help());
        return EXIT_SUCCESS;
    }
    if (const auto extra = app.remaining(); !extra.empty()) reject(app, extra.front());
    if (raw.config.empty() && raw.control.empty())
        throw UsageError("which eplb? give its configuration file with -c");
    if (raw.dry_run && raw.config.empty())
        throw UsageError("--dry-run: of which file? give it with -c");

    const std::string where = control_of(raw);
    Reloader::Request request{
        .dry_run = raw.dry_run, .force = raw.force, .strict = raw.strict, .file = std::nullopt};
    if (!raw.config.empty()) request.file = std::filesystem::absolute(raw.config);
    const std::string answer = ask(connect_to(where), where, control::encode(request));
    const Reloader::Outcome outcome = read(answer, where);
    const bool good = outcome.kind == Kind::unchanged || outcome.kind == Kind::changed;
    fmt::print(good ? stdout : stderr, "{}", outcome.report);
    if (outcome.kind == Kind::unchanged && raw.dry_run) fmt::print("nothing would change\n");
    return exit_code_of(outcome.kind, raw.dry_run);
}

}  // namespace eplb::app
