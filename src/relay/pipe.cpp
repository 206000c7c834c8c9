#include "eplb/pipe.hpp"

#include "base/sys.hpp"
#include "eplb/descriptor_budget.hpp"

namespace eplb {
namespace {

// After the kernel gave a pipe too small to be useful, that many requests are turned down before
// the next try: opening and closing pipes costs more than the copying that it would save.
constexpr std::size_t requests_to_skip = 256;

// Every pipe has a page: what to count on when the kernel does not tell.
constexpr std::uint32_t least_capacity = 4096;

}  // namespace

void PipePool::Lease::give_back() noexcept {
    if (pool_ == nullptr) return;
    std::exchange(pool_, nullptr)->take_back(std::exchange(pipe_, Pipe{}));
}

PipePool::~PipePool() { trim(); }

PipePool::Lease PipePool::lease(std::size_t least) noexcept {
    // The last one back is the warmest in the cache.
    while (!idle_.empty()) {
        Pipe pipe = std::move(idle_.back());
        idle_.pop_back();
        if (pipe.capacity < least) {
            destroy(std::move(pipe));
            continue;
        }
        counters_.lent.add();
        return Lease{*this, std::move(pipe)};
    }
    if (least > 0 && skip_ > 0) {
        --skip_;
        counters_.unavailable.add();
        return {};
    }

    Pipe pipe = create();
    if (pipe.capacity >= PipePool::useful_bytes || (pipe.capacity > 0 && pipe.capacity >= least)) {
        counters_.lent.add();
        return Lease{*this, std::move(pipe)};
    }
    counters_.unavailable.add();
    skip_ = requests_to_skip;
    if (pipe.capacity > 0) destroy(std::move(pipe));
    return {};
}

PipePool::Stats PipePool::stats() const noexcept {
    return {
        .open = counters_.open.value(),
        .lent = counters_.lent.value(),
        .created = counters_.created.value(),
        .degraded = counters_.degraded.value(),
        .unavailable = counters_.unavailable.value(),
        .discarded = counters_.discarded.value(),
    };
}

void PipePool::trim() noexcept {
    while (!idle_.empty()) {
        Pipe pipe = std::move(idle_.back());
        idle_.pop_back();
        destroy(std::move(pipe));
    }
}

// A pipe with a capacity, or none.
PipePool::Pipe PipePool::create() noexcept {
    if (budget_ != nullptr && !budget_->take_pipe()) return {};
    int read_end = -1;
    int write_end = -1;
    if (sys::pipe(read_end, write_end) != 0) {
        if (budget_ != nullptr) budget_->return_pipe();
        return {};
    }
    counters_.open.add();
    counters_.created.add();

    Pipe pipe{Fd{read_end}, Fd{write_end}, 0, 0};
    int size = sys::set_pipe_size(write_end, pipe_bytes_);
    // EPERM: this user has used up fs.pipe-user-pages-soft; the pipe keeps the size it came with,
    // pipe(7).
    if (size < 0) size = sys::pipe_size(write_end);
    pipe.capacity = size > 0 ? static_cast<std::uint32_t>(size) : least_capacity;
    if (pipe.capacity < useful_bytes) counters_.degraded.add();
    return pipe;
}

void PipePool::take_back(Pipe pipe) noexcept {
    counters_.lent.subtract();
    if (pipe.bytes != 0) {
        counters_.discarded.add();
        destroy(std::move(pipe));
    } else if (idle_.size() >= max_idle || (budget_ != nullptr && budget_->pipes_in_the_way())) {
        destroy(std::move(pipe));
    } else {
        idle_.push_back(std::move(pipe));
    }
}

void PipePool::destroy(Pipe pipe) noexcept {
    pipe.read_end.reset();
    pipe.write_end.reset();
    counters_.open.subtract();
    if (budget_ != nullptr) budget_->return_pipe();
}

}  // namespace eplb
