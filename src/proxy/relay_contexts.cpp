#include "proxy/relay_contexts.hpp"

#include "eplb/export.hpp"
#include "proxy/service.hpp"

#include <algorithm>
#include <utility>

namespace eplb {
namespace {

void add(PipePool::Stats& sum, const PipePool::Stats& stats) noexcept {
    sum.open += stats.open;
    sum.lent += stats.lent;
    sum.created += stats.created;
    sum.degraded += stats.degraded;
    sum.unavailable += stats.unavailable;
    sum.discarded += stats.discarded;
}

}  // namespace

class EPLB_LOCAL RelayContexts::Counted final : public RelayContext {
public:
    using RelayContext::RelayContext;

    std::size_t sessions = 0;
    bool wanted = true;
};

RelayContexts::RelayContexts(DescriptorBudget& budget,
                             const std::function<void(int error)>& on_splice_refused) noexcept
    : budget_{budget}, on_splice_refused_{on_splice_refused} {}

RelayContexts::~RelayContexts() = default;

RelayContext& RelayContexts::get(RelayMode mode, std::size_t pipe_bytes) {
    RelayContext::Options options;
    options.mode = mode;
    if (pipe_bytes != 0) options.pipe_bytes = pipe_bytes;
    options.on_splice_refused = on_splice_refused_;
    for (const auto& context : contexts_) {
        if (context->mode() != options.mode || context->pipe_bytes() != options.pipe_bytes)
            continue;
        context->wanted = true;
        return *context;
    }
    auto context = std::make_unique<Counted>(std::move(options), &budget_);
    const std::lock_guard lock{changing_};
    contexts_.push_back(std::move(context));
    return *contexts_.back();
}

void RelayContexts::keep_those_of(const std::vector<std::unique_ptr<Service>>& services) noexcept {
    for (const auto& context : contexts_) context->wanted = false;
    for (const auto& service : services)
        static_cast<Counted&>(service->relay_context()).wanted = true;
    for (std::size_t i = contexts_.size(); i-- > 0;) {
        Counted& context = *contexts_[i];
        if (!context.wanted && context.sessions == 0) drop(context);
    }
}

void RelayContexts::add_session(RelayContext& context) noexcept {
    ++static_cast<Counted&>(context).sessions;
}

void RelayContexts::remove_session(RelayContext& context) noexcept {
    auto& counted = static_cast<Counted&>(context);
    if (--counted.sessions == 0 && !counted.wanted) drop(counted);
}

void RelayContexts::drop(Counted& context) noexcept {
    context.pipes().trim();  // not under the lock: the budget may tell the worker of room
    const std::lock_guard lock{changing_};
    add(gone_, context.pipes().stats());
    contexts_.erase(std::ranges::find(contexts_, &context, &std::unique_ptr<Counted>::get));
}

void RelayContexts::trim() noexcept {
    for (const auto& context : contexts_) context->pipes().trim();
}

std::size_t RelayContexts::open_pipes() const noexcept {
    std::size_t count = 0;
    for (const auto& context : contexts_) count += context->pipes().stats().open;
    return count;
}

PipePool::Stats RelayContexts::stats() const {
    const std::lock_guard lock{changing_};
    PipePool::Stats sum = gone_;
    for (const auto& context : contexts_) add(sum, context->pipes().stats());
    return sum;
}

}  // namespace eplb
