// relay: kernel pipes, and a pool of them.
#pragma once

#include "eplb/counter.hpp"
#include "eplb/export.hpp"
#include "eplb/fd.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace eplb {

class DescriptorBudget;

/// Keeps kernel pipes for splice(2) and lends them out while bytes are on their way.
///
/// A pipe that comes back empty is kept for the next borrower. One that still holds bytes is
/// closed, so the bytes of one connection can never reach another. Belongs to one thread and
/// outlives its leases.
class EPLB_API PipePool {
public:
    /// A pipe smaller than this is not worth two system calls a chunk.
    static constexpr std::size_t useful_bytes = 64 * 1024;

    /// Numbers of pipes. For another thread they need not all be of the same moment.
    struct Stats {
        std::size_t open = 0;       ///< lent or idle, now
        std::size_t lent = 0;       ///< now
        std::uint64_t created = 0;  ///< ever
        std::uint64_t degraded =
            0;  ///< ever: the kernel gave less than useful_bytes (pipe(7), user quota)
        std::uint64_t unavailable = 0;  ///< ever: a borrower got none
        std::uint64_t discarded = 0;    ///< ever: came back with bytes in them
    };

    /// A pipe on loan, or none. Move-only.
    class Lease {
    public:
        Lease() noexcept = default;
        /// `other` is none from then on.
        Lease(Lease&& other) noexcept
            : pool_{std::exchange(other.pool_, nullptr)}, pipe_{std::move(other.pipe_)} {}
        /// Gives back what was on loan before.
        Lease& operator=(Lease&& other) noexcept {
            if (this != &other) {
                give_back();
                pool_ = std::exchange(other.pool_, nullptr);
                pipe_ = std::move(other.pipe_);
            }
            return *this;
        }
        ~Lease() { give_back(); }

        /// Whether there is a pipe.
        [[nodiscard]] explicit operator bool() const noexcept { return pool_ != nullptr; }
        /// Where splice(2) takes bytes out; -1 for none.
        [[nodiscard]] int read_end() const noexcept { return pipe_.read_end.get(); }
        /// Where splice(2) puts bytes in; -1 for none.
        [[nodiscard]] int write_end() const noexcept { return pipe_.write_end.get(); }
        /// F_GETPIPE_SZ. A pipe fills by slots, not bytes: small segments fill it long before.
        [[nodiscard]] std::size_t capacity() const noexcept { return pipe_.capacity; }

        /// Bytes in the pipe: the borrower keeps this account.
        [[nodiscard]] std::size_t bytes() const noexcept { return pipe_.bytes; }
        /// So many have gone in.
        void filled(std::size_t count) noexcept {
            pipe_.bytes += static_cast<std::uint32_t>(count);
        }
        /// So many have come out; not more than bytes().
        void drained(std::size_t count) noexcept {
            pipe_.bytes -= static_cast<std::uint32_t>(count);
        }

        /// Returns it to the pool if it is empty, else closes it.
        void give_back() noexcept;

    private:
        friend class PipePool;
        struct Pipe {
            Fd read_end;
            Fd write_end;
            // pipe(7) allows for 2 GiB at most.
            std::uint32_t capacity = 0;
            std::uint32_t bytes = 0;
        };
        Lease(PipePool& pool, Pipe pipe) noexcept : pool_{&pool}, pipe_{std::move(pipe)} {}

        PipePool* pool_ = nullptr;
        Pipe pipe_;
    };

    /// `pipe_bytes`: what to ask the kernel for; it may give less. `budget`, if any, outlives the
    /// pool.
    explicit PipePool(std::size_t pipe_bytes, DescriptorBudget* budget = nullptr)
        : pipe_bytes_{pipe_bytes}, budget_{budget} {
        idle_.reserve(max_idle);  // so that a pipe can always come back without an allocation
    }
    ~PipePool();
    PipePool(const PipePool&) = delete;
    PipePool& operator=(const PipePool&) = delete;

    /// An empty pipe; or none when the budget or the kernel has none (EMFILE, ENFILE), or only one
    /// with fewer than `least` bytes. pipe2(2) and fcntl(2) when no idle one is at hand, else no
    /// system call.
    [[nodiscard]] Lease lease(std::size_t least = 0) noexcept;
    /// Closes the idle pipes.
    void trim() noexcept;

    /// Any thread.
    [[nodiscard]] Stats stats() const noexcept;

private:
    using Pipe = Lease::Pipe;
    static constexpr std::size_t max_idle = 64;
    struct Counters {
        Counter open;
        Counter lent;
        Counter created;
        Counter degraded;
        Counter unavailable;
        Counter discarded;
    };

    [[nodiscard]] Pipe create() noexcept;
    void take_back(Pipe pipe) noexcept;
    void destroy(Pipe pipe) noexcept;

    std::size_t pipe_bytes_;
    DescriptorBudget* budget_;
    std::vector<Pipe> idle_;
    std::size_t skip_ = 0;
    Counters counters_;
};

}  // namespace eplb
