#include "proxy/service.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <random>
#include <utility>

namespace eplb {

EphemeralPorts EphemeralPorts::of_this_network() {
    std::ifstream range{"/proc/sys/net/ipv4/ip_local_port_range"};
    EphemeralPorts ports;
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    if (range >> first >> last) ports = {first, last};
    return ports;
}

Service::Service(std::shared_ptr<const ServiceSpec> spec, std::size_t worker, RelayContext& context)
    : spec_{std::move(spec)},
      worker_{worker},
      context_{&context},
      timeouts_{spec_->timeouts},
      balancer_{std::make_unique<RoundRobin>()} {
    take_backends();
    for (std::size_t i = 0; i < worker; ++i) static_cast<void>(pick({}, {}, {}));
}

void Service::update(std::shared_ptr<const ServiceSpec> spec, RelayContext& context) {
    const bool same_backends = spec->usable == spec_->usable;
    spec_ = std::move(spec);
    context_ = &context;
    timeouts_ = spec_->timeouts;
    if (!same_backends) take_backends();
}

void Service::take_backends() {
    backends_.clear();
    for (const auto& backend : spec_->usable) backends_.push_back(backend.get());
    candidates_.prepare(spec_->index_end);
    balancer_->prepare(backends_);
}

const Address* Service::next_source(int family) noexcept {
    const std::vector<Address>& sources = spec_->sources;
    for (std::size_t i = 0; i < sources.size(); ++i) {
        const Address& source = sources[next_source_++ % sources.size()];
        if (source.family() == family) return &source;
    }
    return nullptr;
}

std::string Service::make_unique_id() {
    static const std::uint64_t process = [] {
        std::random_device device;
        return std::uint64_t{device()} << 32 | device();
    }();
    // Of a service and a worker; there are never that many of either.
    const std::uint64_t place = (std::uint64_t{id()} << 12 ^ worker_) << 40;
    return fmt::format("{:016x}{:016x}", process, place ^ next_unique_id_++);
}

void Service::remove() noexcept {
    removed_ = true;
    backends_.clear();
}

Backend* Service::pick(const Address& client, std::span<const FailedAttempt> failed,
                       TimePoint now) noexcept {
    candidates_.clear();
    for (Backend* const backend : backends_) {
        if (std::ranges::none_of(failed, [&](const FailedAttempt& attempt) {
                return attempt.backend.get() == backend;
            }))
            candidates_.add(*backend);
    }
    return candidates_.empty() ? nullptr : balancer_->pick(candidates_, client, now);
}

bool Service::may_connect_to_itself(const Backend& backend) const noexcept {
    return !backend.address().is_unix() &&
           spec_->ephemeral_ports.contains(backend.address().port());
}

}  // namespace eplb
