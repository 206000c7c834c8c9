// relay: one direction between two sockets.
#pragma once

#include "eplb/export.hpp"
#include "eplb/pipe.hpp"
#include "eplb/watch.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace eplb {

/// How bytes get from one socket to the other.
enum class RelayMode : std::uint8_t {
    automatic,  ///< copy while messages are small, splice in bulk
    splice,     ///< splice whenever a pipe is to be had
    copy,       ///< never splice
};

/// What all flows of one thread share: the pipe pool, the scratch buffer, and whether the kernel
/// lets us splice at all. Outlives its flows.
class EPLB_API RelayContext {
public:
    /// How the defaults were chosen is in docs/benchmarks.md.
    struct Options {
        /// RelayMode::copy never takes a pipe.
        RelayMode mode = RelayMode::automatic;
        /// What one recv(2) may take, above zero; filling it is the sign of bulk.
        std::size_t scratch_bytes = 64 * 1024;
        /// What to ask the kernel for, per pipe; it gives a page at least.
        std::size_t pipe_bytes = 256 * 1024;
        /// What a flow may move before others get their turn, above zero; overshot by at most one
        /// pipeful.
        std::size_t turn_bytes = 256 * 1024;
        /// Told the errno, once, when splice(2) turned out not to be allowed or not to be there. In
        /// the middle of a flow: must neither throw nor destroy a flow.
        std::function<void(int error)> on_splice_refused;
    };

    /// With the defaults of Options.
    RelayContext() : RelayContext(Options{}) {}
    /// `budget`, if any, outlives it; without one, only the kernel limits pipes. Allocates the
    /// scratch buffer, and no pipe yet. Throws std::invalid_argument for a `scratch_bytes` or a
    /// `turn_bytes` of zero.
    explicit RelayContext(Options options, DescriptorBudget* budget = nullptr);

    /// Where its flows get their pipes from.
    [[nodiscard]] PipePool& pipes() noexcept { return pipes_; }
    /// The same, for its stats(), which any thread may ask for.
    [[nodiscard]] const PipePool& pipes() const noexcept { return pipes_; }
    /// Between two calls of pump() nobody needs what is in it: free for others on this thread.
    [[nodiscard]] std::span<std::byte> scratch() noexcept {
        return {scratch_.get(), options_.scratch_bytes};
    }
    /// As in the Options.
    [[nodiscard]] RelayMode mode() const noexcept { return options_.mode; }
    /// As in the Options; what a pipe really has, its Lease::capacity() says.
    [[nodiscard]] std::size_t pipe_bytes() const noexcept { return options_.pipe_bytes; }
    /// As in the Options: what owners give to pump().
    [[nodiscard]] std::size_t turn_bytes() const noexcept { return options_.turn_bytes; }
    /// False in copy mode, and for good after the kernel denied splice(2) to this process.
    [[nodiscard]] bool may_splice() const noexcept { return may_splice_; }
    /// A splice failed with ENOSYS, EPERM, EINVAL or EOPNOTSUPP. The first two are for good; the
    /// others (a socket that cannot be spliced) are for the flow that met them.
    void splice_refused(int error) noexcept;

private:
    Options options_;
    PipePool pipes_;
    std::unique_ptr<std::byte[]> scratch_;
    bool may_splice_;
    bool refusal_told_ = false;
};

/// One direction of a relayed connection: moves bytes from one socket to another, and then the end
/// of the stream.
///
/// Two ways lead there: recv(2) into the scratch buffer and send(2), which is cheaper for small
/// messages; and splice(2) through a kernel pipe, which is cheaper in bulk. Either way the source
/// is read only when nothing is stuck: not in the pipe, not in the rest of a copy that the
/// destination did not take. So EAGAIN has one meaning (splice(2) also says it for a full pipe),
/// the end of the stream is passed on only behind the last byte, and a slow destination slows the
/// source by TCP's own window.
///
/// Both sockets are nonblocking. Belongs to the thread of the watches; the data path neither throws
/// nor logs.
class EPLB_API Flow {
public:
    /// From `finished` on it is over, for good.
    enum class State : std::uint8_t {
        blocked,             ///< only a new edge can help
        runnable,            ///< there is more to do; the budget ran out first
        finished,            ///< every byte, and the end of the stream, is with the destination
        source_failed,       ///< reading failed, and all that was received before is with the
                             ///< destination
        destination_failed,  ///< writing failed; what was on its way is lost
    };

    /// Watches and context outlive the flow. The watches are attached before the first pump().
    Flow(Watch& source, Watch& destination, RelayContext& context) noexcept
        : source_{source}, destination_{destination}, context_{context} {}

    /// Moves bytes until it is blocked, over, or has moved about `budget`.
    State pump(std::size_t budget) noexcept;

    /// The source's connection is known to be broken: the end of its stream, when met, counts as a
    /// failure. Reading after a reset says "end of stream" to whoever missed the one ECONNRESET.
    void source_is_broken(int error) noexcept { broken_source_error_ = error; }

    /// The source is TCP, where a read that returns less than was asked has emptied the socket.
    /// Elsewhere it proves nothing: on a Unix socket recv(2) also stops at a passed descriptor.
    void trust_short_reads() noexcept { short_read_is_proof_ = true; }

    /// The owner closes the destination as soon as this flow is over, which sends FIN as well: the
    /// flow need not. Only when nothing is read from the destination any more, or close(2) may reset.
    void leave_end_to_close() noexcept { end_comes_with_close_ = true; }

    /// What pump() said last; blocked before the first.
    [[nodiscard]] State state() const noexcept { return state_; }
    /// Finished or failed: pump() does nothing any more.
    [[nodiscard]] bool over() const noexcept { return state_ >= State::finished; }
    /// Some that were read wait for the destination.
    [[nodiscard]] bool has_stuck_bytes() const noexcept {
        return rest_size_ != 0 || pipe_.bytes() != 0;
    }
    /// Bytes that the destination's socket took.
    [[nodiscard]] std::uint64_t bytes_moved() const noexcept { return bytes_moved_; }
    /// Why it failed: an errno, or 0.
    [[nodiscard]] int error() const noexcept { return error_; }

private:
    // What a step led to: look at the state again, or only an edge can help.
    enum class Step : std::uint8_t { progress, blocked };

    [[nodiscard]] bool wants_splice() const noexcept;
    State end_of_source() noexcept;
    Step fill(std::size_t& budget) noexcept;
    Step fill_by_splice(std::size_t& budget) noexcept;
    Step fill_by_copy(std::size_t& budget) noexcept;
    static void charge(std::size_t& budget, std::size_t bytes) noexcept;
    void note_fill(std::size_t bytes) noexcept;
    Step source_ended(int error) noexcept;
    Step destination_failed(int error) noexcept;
    Step drain() noexcept;
    Step drain_rest() noexcept;
    Step drain_pipe() noexcept;
    Step drain_pipe_by_copy() noexcept;
    Step send_or_keep(std::span<const std::byte> bytes) noexcept;

    Watch& source_;
    Watch& destination_;
    RelayContext& context_;
    PipePool::Lease pipe_;
    // What send(2) left of a copy. On the heap, and only while the destination is full.
    std::unique_ptr<std::byte[]> rest_;
    std::uint32_t rest_begin_ = 0;
    std::uint32_t rest_size_ = 0;
    std::uint64_t bytes_moved_ = 0;
    int error_ = 0;
    int broken_source_error_ = 0;
    State state_ = State::blocked;
    bool source_ended_ = false;
    bool end_comes_with_close_ = false;
    bool short_read_is_proof_ = false;
    bool splice_works_ = true;
    bool splice_moved_ = false;  // anything, in this pump()
    bool bulk_ = false;
    std::uint8_t small_fills_ = 0;
};

}  // namespace eplb
