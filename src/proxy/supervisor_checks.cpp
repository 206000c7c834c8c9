// What health checks find.
#include "eplb/reactor.hpp"
#include "protocol/proxy_protocol.hpp"
#include "proxy/supervisor_impl.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>

namespace eplb {
namespace {

// For backends that expect a PROXY header: that there is no client.
std::string local_header(SendProxy version, const Address& own, const Address& peer) {
    std::array<std::byte, max_encoded_proxy_header> buffer;
    const std::size_t size = encode_local_proxy_header(version, own, peer, buffer);
    return {reinterpret_cast<const char*>(buffer.data()), size};
}

health::Checker::Route route_of(const ServiceConfig& service) {
    health::Checker::Route route{
        .socket = service.socket, .sources = service.sources, .preamble = {}};
    if (service.send_proxy != SendProxy::off) {
        route.preamble = [version = service.send_proxy](const Address& own, const Address& peer) {
            return local_header(version, own, peer);
        };
    }
    return route;
}

}  // namespace

void Supervisor::update_check(Entry& entry) {
    const CheckConfig& wanted = entry.member.service->check;
    Backend& backend = *entry.member.backend;
    const bool off =
        wanted.type == CheckConfig::Type::none || backend.wanted() == Backend::Wanted::maintenance;
    if (off) {
        entry.checker.reset();
        entry.health = health::Health::unknown;
        if (wanted.type == CheckConfig::Type::none) backend.set_untried(false);
        if (!backend.down()) return;
        backend.set_down(false);
        entry.down_untold = false;
        tell(LogLevel::info, entry.member, "is not checked any more");
        hooks_.on_up(entry.member);
        came_back(entry);
        return;
    }
    if (entry.checker) {
        entry.checker->set_config(wanted);
        entry.checker->set_route(route_of(*entry.member.service));
        return;
    }
    // The backends of a configuration are not all asked in the same moment.
    static constexpr Duration spread = std::chrono::milliseconds{1};
    entry.checker = std::make_unique<health::Checker>(
        reactor_,
        health::Checker::Options{.backend = backend.address(),
                                 .config = wanted,
                                 .route = route_of(*entry.member.service),
                                 .offset = spread * static_cast<int>(entry.index % 100),
                                 .seed = std::hash<std::string>{}(label(backend)),
                                 .health = entry.health},
        [this, &entry](const health::CheckResult& result) { on_check(entry, result); });
}

// Without memory for the cause, it is one without words.
void Supervisor::set_cause(Entry& entry, const std::string& cause) noexcept {
    try {
        entry.cause = cause;
    } catch (const std::bad_alloc&) {
        entry.cause.clear();
    }
}

// What becomes of its sessions takes memory. If there is none, that is tried again.
void Supervisor::tell_down(Entry& entry) noexcept {
    entry.down_untold = false;
    try {
        hooks_.on_down(entry.member);
    } catch (const std::bad_alloc&) {
        entry.down_untold = true;
        schedule();
    }
}

void Supervisor::on_check(Entry& entry, const health::CheckResult& result) noexcept {
    using Outcome = health::CheckResult::Outcome;
    Backend& backend = *entry.member.backend;
    if (result.outcome == Outcome::local_error) {
        if (entry.cause == result.cause) return;
        set_cause(entry, result.cause);
        tell(LogLevel::warning, entry.member, "cannot be checked: {}", result.cause);
        return;
    }
    set_cause(entry, result.cause);
    if (!result.transition) return;
    const bool was_untried = backend.untried();
    backend.set_untried(false);
    if (result.transition->to == health::Health::down) {
        backend.set_down(true);
        tell(LogLevel::warning, entry.member, "is down: {}", result.cause);
        tell_down(entry);
        hooks_.on_change();
        return;
    }
    if (!backend.down() && !was_untried) return;  // the first check of all passed
    backend.set_down(false);
    entry.down_untold = false;
    tell(LogLevel::info, entry.member, "is up");
    hooks_.on_up(entry.member);
    if (was_untried) {
        hooks_.on_change();
    } else {
        came_back(entry);
    }
}

}  // namespace eplb
