#include "control/kernel_check.hpp"

#include "config/config_keys.hpp"
#include "proxy/listen_options.hpp"
#include "proxy/listener_conflicts.hpp"
#include "reactor/listening.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <string_view>
#include <system_error>
#include <tuple>
#include <unistd.h>

namespace eplb::control {
namespace {

std::string text_of(int error) { return std::generic_category().message(error); }

// The value of a key, as TOML.
std::string value_of(const ServiceValues& values, std::string_view key) {
    const auto& keys = service_keys();
    const auto found = std::ranges::find(keys, key, &Key<ServiceValues>::name);
    return found == keys.end() ? std::string{} : found->write(values);
}

// Why, or the way out.
std::string_view hint(std::string_view option, int error) noexcept {
    if (option == "interface") {
        if (error == ENODEV) return " (there is no such interface now)";
        return error == EPERM ? " (takes CAP_NET_RAW)" : "";
    }
    if (option == "congestion") {
        if (error == ENOENT)
            return " (net.ipv4.tcp_available_congestion_control has those there are)";
        return error == EPERM ? " (without CAP_NET_ADMIN only those of "
                                "net.ipv4.tcp_allowed_congestion_control)"
                              : "";
    }
    if (option == "source" && error == EADDRNOTAVAIL) return " (no interface has that address now)";
    if (error != EPERM) return "";
    if (option == "mark") return " (takes CAP_NET_ADMIN)";
    if (option == "transparent") return " (takes CAP_NET_ADMIN or CAP_NET_RAW)";
    return option == "unix_owner"
               ? " (another user, or a group that we are not in, takes CAP_CHOWN)"
               : "";
}

// What try_options() may refuse.
constexpr std::array<std::string_view, 8> socket_keys{"nodelay",      "keepalive",  "fast_open",
                                                      "defer_accept", "interface",  "mark",
                                                      "congestion",   "transparent"};

class Check {
public:
    Check(const OwnListeners& own, bool tolerant, Diagnostics& diagnostics)
        : own_{own}, tolerant_{tolerant}, diagnostics_{diagnostics} {}

    void check_options(const Service& service) {
        const ListenOptions options = listen_options(service.values.config);
        if (asks_for_options(service)) {
            for (const OptionFailure& failure : try_once(options)) refuse(service, failure);
        }
        for (const Address& source : service.values.config.sources) {
            const int error = try_once(source, options.socket);
            if (error == 0) continue;
            tell(place_of(service, "source"), error,
                 fmt::format("source: connections cannot come from {}{}: {}", host_of(source),
                             hint("source", error), text_of(error)));
        }
    }

    // In the order of the configuration: a name may stand for several addresses.
    void check_listeners(const Service& service, const ServiceConfig& config) {
        for (const Address& address : config.listen)
            check_listener(service, config, address, place_of(service, address));
    }

    void check_log(const Section<LogValues>& log) {
        const std::string& file = log.values.file;
        if (file == "-") return;
        const int error = try_file(file);
        if (error == 0) return;
        const Origin origin = log.origin_of("file");
        tell(origin.place, error,
             fmt::format("file: cannot write the log file {}: {}", file, text_of(error)));
    }

private:
    void check_listener(const Service& service, const ServiceConfig& config, const Address& address,
                        const Place& place) {
        ListenOptions options = listen_options(service.values.config);
        if (const auto* const permissions = own_.find(address)) {
            if (*permissions == OwnListeners::Permissions{config.unix_mode, config.unix_owner})
                return;
            for (const OptionFailure& failure : try_permissions(address, options))
                refuse(service, failure);
            return;
        }
        if (const Address* const other = own_.in_the_way_of(address)) {
            diagnostics_.error(place, fmt::format("cannot go over from listener {} to {} without "
                                                  "closing it: that takes a restart",
                                                  other->to_string(), address.to_string()));
            return;
        }
        for (const OptionFailure& failure : try_to_listen(address, options)) {
            if (failure.option != std::string_view{"listen"}) {
                refuse(service, failure);
                continue;
            }
            diagnostics_.error(place, fmt::format("{}: {}", listen_problem(address, failure.error),
                                                  text_of(failure.error)));
        }
    }

    // Many services have the same ones.
    const std::vector<OptionFailure>& try_once(const ListenOptions& options) {
        const SocketOptions& socket = options.socket;
        const auto [found, is_new] = tried_.try_emplace(
            std::tuple{socket.no_delay, socket.keepalive.idle, socket.keepalive.interval,
                       socket.keepalive.count, socket.interface, socket.mark, socket.congestion,
                       socket.transparent, options.fast_open, options.defer_accept});
        if (is_new) found->second = try_options(options);
        return found->second;
    }
    int try_once(const Address& source, const SocketOptions& options) {
        const auto [found, is_new] = tried_sources_.try_emplace(
            std::tuple{source.to_string(), options.interface, options.transparent});
        if (is_new) found->second = try_source(source, options);
        return found->second;
    }

    // Nothing is made that is not there: whoever only asks leaves no trace.
    static int try_file(const std::string& file) {
        if (::access(file.c_str(), F_OK) == 0) {
            std::error_code ignored;
            if (std::filesystem::is_directory(file, ignored)) return EISDIR;
            return ::faccessat(AT_FDCWD, file.c_str(), W_OK, AT_EACCESS) == 0 ? 0 : errno;
        }
        const std::string folder = std::filesystem::path{file}.parent_path().string();
        const char* const where = folder.empty() ? "." : folder.c_str();
        return ::faccessat(AT_FDCWD, where, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
    }

    static std::string host_of(const Address& address) {
        const std::string text = address.with_port(0).to_string();
        return text.substr(0, text.rfind(':'));
    }

    static bool asks_for_options(const Service& service) {
        return std::ranges::any_of(socket_keys, [&](std::string_view key) {
            return service.origin_of(key).kind != Origin::Kind::built_in;
        });
    }

    static Place place_of(const Service& service, std::string_view key) {
        const Origin origin = service.origin_of(key);
        return origin.kind == Origin::Kind::built_in ? service.place : origin.place;
    }
    // Of a host name: where the list is.
    static Place place_of(const Service& service, const Address& listener) {
        for (const Endpoint& endpoint : service.values.listen) {
            try {
                const auto address = Address::parse_unless_name(endpoint.text);
                if (address && *address == listener) return endpoint.place;
            } catch (const std::exception&) {
                continue;
            }
        }
        for (const Endpoint& endpoint : service.values.listen) {
            try {
                if (!Address::parse_unless_name(endpoint.text)) return endpoint.place;
            } catch (const std::exception&) {
                continue;
            }
        }
        return service.place;
    }

    void refuse(const Service& service, const OptionFailure& failure) {
        const std::string_view option = failure.option;
        // What nobody asked for is what it is.
        if (service.origin_of(option).kind == Origin::Kind::built_in) return;
        tell(place_of(service, option), failure.error,
             fmt::format("{}: the kernel does not take {}{}: {}", option,
                         value_of(service.values, option), hint(option, failure.error),
                         text_of(failure.error)));
    }

    void tell(const Place& place, int error, std::string message) {
        if (tolerant_ && may_come_later(error)) {
            diagnostics_.warning(place, std::move(message));
        } else {
            diagnostics_.error(place, std::move(message));
        }
    }

    using OptionKey = std::tuple<bool, Duration, Duration, std::uint32_t, std::string,
                                 std::uint32_t, std::string, bool, std::uint32_t, Duration>;
    const OwnListeners& own_;
    bool tolerant_;
    Diagnostics& diagnostics_;
    std::map<OptionKey, std::vector<OptionFailure>> tried_;
    std::map<std::tuple<std::string, std::string, bool>, int> tried_sources_;
};

}  // namespace

OwnListeners::OwnListeners(const Config& running) {
    for (const ServiceConfig& service : running.services) {
        for (const Address& address : service.listen) {
            by_address_.emplace(address.to_string(),
                                Permissions{service.unix_mode, service.unix_owner});
            if (!address.is_unix()) by_port_[address.port()].push_back(address);
        }
    }
}

const OwnListeners::Permissions* OwnListeners::find(const Address& address) const {
    const auto found = by_address_.find(address.to_string());
    return found == by_address_.end() ? nullptr : &found->second;
}

const Address* OwnListeners::in_the_way_of(const Address& address) const {
    if (address.is_unix()) return nullptr;
    const auto there = by_port_.find(address.port());
    if (there == by_port_.end()) return nullptr;
    const auto other = std::ranges::find_if(
        there->second, [&](const Address& own) { return overlap(address, own); });
    return other == there->second.end() ? nullptr : &*other;
}

void check_with_kernel(const Settings& settings, const Config& config, KernelCheck what,
                       const OwnListeners& own, bool tolerant, Diagnostics& diagnostics) {
    Check check{own, tolerant, diagnostics};
    if (what == KernelCheck::all) check.check_log(settings.log);
    for (std::size_t i = 0; i < settings.services.size(); ++i) {
        check.check_options(settings.services[i]);
        if (what == KernelCheck::all)
            check.check_listeners(settings.services[i], config.services[i]);
    }
}

}  // namespace eplb::control
