#include "proxy/worker_catalog.hpp"

#include <algorithm>

namespace eplb {

void WorkerCatalog::learn_services(const Generation& generation) {
    for (const auto& spec : generation.services) {
        Service* const service = find_service(spec->id);
        if (service != nullptr && service->goes_by(spec)) continue;
        RelayContext& context = contexts_.get(spec->config->relay, spec->config->pipe_bytes);
        if (service == nullptr) {
            services_.push_back(std::make_unique<Service>(spec, worker_, context));
        } else {
            service->update(spec, context);
        }
    }
    contexts_.keep_those_of(services_);
}

void WorkerCatalog::learn_frontends(const Generation& generation) {
    for (const FrontendSpec& spec : generation.frontends) {
        if (find_frontend(spec.id) != nullptr) continue;
        Service& service = *find_service(spec.service);
        frontends_.push_back(
            std::make_unique<Frontend>(Frontend{.id = spec.id,
                                                .service = service,
                                                .address = spec.address,
                                                .sessions_everywhere = spec.sessions}));
        service.count_frontend();
    }
}

void WorkerCatalog::forget_all_but(const Generation& generation) noexcept {
    for (const auto& service : services_) {
        if (!generation.has_service(service->id())) service->remove();
    }
    for (const auto& frontend : frontends_)
        frontend->removed = !generation.has_frontend(frontend->id);
    forget_unused();
}

void WorkerCatalog::forget_unused() noexcept {
    std::erase_if(frontends_, [](const std::unique_ptr<Frontend>& frontend) {
        const bool gone = frontend->removed && frontend->sessions == 0;
        if (gone) frontend->service.discount_frontend();
        return gone;
    });
    std::erase_if(services_, [&](const std::unique_ptr<Service>& service) {
        return service->removed() && !service->has_frontends();
    });
    contexts_.keep_those_of(services_);
}

Service* WorkerCatalog::find_service(std::uint32_t id) noexcept {
    const auto found = std::ranges::lower_bound(
        services_, id, {}, [](const std::unique_ptr<Service>& service) { return service->id(); });
    return found == services_.end() || (*found)->id() != id ? nullptr : found->get();
}

Frontend* WorkerCatalog::find_frontend(std::uint32_t id) noexcept {
    const auto found = std::ranges::lower_bound(
        frontends_, id, {}, [](const std::unique_ptr<Frontend>& frontend) { return frontend->id; });
    return found == frontends_.end() || (*found)->id != id ? nullptr : found->get();
}

Duration WorkerCatalog::inspection_interval() const noexcept {
    Duration least{0};
    for (const auto& service : services_) {
        const Duration wanted = service->inspection_interval();
        if (wanted > Duration{0}) least = least == Duration{0} ? wanted : std::min(least, wanted);
    }
    return least;
}

void WorkerCatalog::pass_room_on() noexcept {
    for (const auto& service : services_) service->spec().limits->pass_on();
}

void WorkerCatalog::begin_round(TimePoint now, std::size_t workers) {
    for (const auto& service : services_) service->begin_round(now, workers);
}

}  // namespace eplb
