#include "proxy/backend_picker.hpp"

#include "proxy/service.hpp"

#include <algorithm>

namespace eplb {

BackendPicker::BackendPicker(const Service& service, std::size_t worker)
    : service_{service}, balancer_{std::make_unique<RoundRobin>()} {
    balancer_->prepare(service.backend_count());
    remaining_.reserve(service.usable().size());
    for (std::size_t i = 0; i < worker; ++i) static_cast<void>(pick({}, {}));
}

Backend* BackendPicker::pick(const Address& client,
                             std::span<const FailedAttempt> failed) noexcept {
    if (failed.empty()) return balancer_->pick(service_.usable(), client);
    remaining_.clear();
    std::copy_if(service_.usable().begin(), service_.usable().end(), std::back_inserter(remaining_),
                 [&](const Backend* backend) {
                     return std::none_of(
                         failed.begin(), failed.end(),
                         [&](const FailedAttempt& attempt) { return attempt.backend == backend; });
                 });
    return balancer_->pick(remaining_, client);
}

}  // namespace eplb
