#include "eplb/flow.hpp"

#include "base/sys.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>

namespace eplb {
namespace {

using sys::Io;
using sys::IoResult;

// What a turn is charged for an operation at least, so that a thousand small ones end a turn too.
constexpr std::size_t least_charge = 4 * 1024;

// A flow in bulk goes back to copying after so many fills in a row that one recv(2) could have
// done.
constexpr std::uint8_t small_fills_to_copy = 4;

// splice(2) is missing, forbidden, or not for this socket: the bytes are still where they were, and
// can be copied.
bool is_refusal(int error) noexcept {
    return error == ENOSYS || error == EPERM || error == EINVAL || error == EOPNOTSUPP;
}

// The kernel has no memory for it just now, while a copy may do.
bool is_out_of_memory(int error) noexcept { return error == ENOMEM || error == ENOBUFS; }

// recv(2) into an empty buffer returns 0, as it does at the end of the stream; and a turn without a
// budget moves nothing, again and again.
RelayContext::Options checked(RelayContext::Options options) {
    if (options.scratch_bytes == 0)
        throw std::invalid_argument("scratch_bytes has to be above zero");
    if (options.turn_bytes == 0) throw std::invalid_argument("turn_bytes has to be above zero");
    return options;
}

}  // namespace

RelayContext::RelayContext(Options options, DescriptorBudget* budget)
    : options_{checked(std::move(options))},
      pipes_{options_.pipe_bytes, budget},
      scratch_{std::make_unique_for_overwrite<std::byte[]>(options_.scratch_bytes)},
      may_splice_{options_.mode != RelayMode::copy} {}

void RelayContext::splice_refused(int error) noexcept {
    if (error == ENOSYS || error == EPERM) may_splice_ = false;
    if (refusal_told_) return;
    refusal_told_ = true;
    if (options_.on_splice_refused) options_.on_splice_refused(error);
}

Flow::State Flow::pump(std::size_t budget) noexcept {
    splice_moved_ = false;
    while (!over()) {
        Step step = Step::progress;
        if (has_stuck_bytes()) {
            step = destination_.writable() ? drain() : Step::blocked;
        } else if (source_ended_) {
            return end_of_source();
        } else if (!source_.readable() || !destination_.writable()) {
            step = Step::blocked;
        } else if (budget == 0) {
            state_ = State::runnable;
            break;
        } else {
            step = fill(budget);
        }
        if (step == Step::blocked) {
            state_ = State::blocked;
            break;
        }
    }
    if (pipe_.bytes() == 0) pipe_.give_back();
    return state_;
}

// All bytes are out.
Flow::State Flow::end_of_source() noexcept {
    pipe_.give_back();
    if (error_ != 0) return state_ = State::source_failed;
    // May fail: then the other direction finds out why.
    if (!end_comes_with_close_) sys::shutdown_write(destination_.fd());
    return state_ = State::finished;
}

bool Flow::wants_splice() const noexcept {
    if (!splice_works_ || !context_.may_splice()) return false;
    return bulk_ || context_.mode() == RelayMode::splice;
}

Flow::Step Flow::fill(std::size_t& budget) noexcept {
    if (wants_splice()) {
        if (!pipe_) {
            // A tiny pipe beats copying for nobody but who asked for splice by name.
            const bool any = context_.mode() == RelayMode::splice;
            pipe_ = context_.pipes().lease(any ? 0 : PipePool::useful_bytes);
        }
        if (pipe_) return fill_by_splice(budget);
    }
    return fill_by_copy(budget);
}

Flow::Step Flow::fill_by_splice(std::size_t& budget) noexcept {
    const IoResult in = sys::splice(source_.fd(), pipe_.write_end(), pipe_.capacity());
    switch (in.status) {
    case Io::moved:
        splice_moved_ = true;
        pipe_.filled(in.bytes);
        charge(budget, in.bytes);
        note_fill(in.bytes);
        return Step::progress;
    case Io::would_block:
        // Believed behind bytes that it moved. Otherwise recv(2) decides: splice(2) stops at a byte
        // of urgent data and says EAGAIN for ever, although bytes wait behind the mark (should that
        // byte come after the watch heard of anything, its edge is on the way); and it never sees
        // what a BPF program has redirected to the socket, bpf(2), BPF_MAP_TYPE_SOCKMAP.
        if (!splice_moved_ || source_.urgent()) break;
        source_.clear_readable();
        return Step::blocked;
    case Io::eof:
        // Not believed: behind urgent data it says so too, and no edge will come for the rest.
        break;
    case Io::error:
        if (is_refusal(in.error)) {
            splice_works_ = false;
            context_.splice_refused(in.error);
        } else if (!is_out_of_memory(in.error)) {
            // The kernel tells it once, and bytes may wait behind urgent data here too: keep it in
            // mind.
            source_is_broken(in.error);
        }
        break;
    }
    return fill_by_copy(budget);
}

Flow::Step Flow::fill_by_copy(std::size_t& budget) noexcept {
    const std::span<std::byte> scratch = context_.scratch();
    const IoResult in = sys::recv(source_.fd(), scratch);
    switch (in.status) {
    case Io::moved:
        // A short read means that the socket is drained, and an edge will come with the next byte:
        // unless it stopped at urgent data, or a hang-up, of which we were told already, stands
        // behind it.
        if (in.bytes < scratch.size() && short_read_is_proof_ && !source_.hung_up() &&
            !source_.urgent()) {
            source_.clear_readable();
        }
        charge(budget, in.bytes);
        note_fill(in.bytes);
        return send_or_keep(scratch.first(in.bytes));
    case Io::eof: return source_ended(0);
    case Io::would_block: source_.clear_readable(); return Step::blocked;
    case Io::error: return source_ended(in.error);
    }
    return Step::progress;
}

void Flow::charge(std::size_t& budget, std::size_t bytes) noexcept {
    budget -= std::min(budget, std::max(bytes, least_charge));
}

// A fill that filled the scratch buffer, or could have, is the sign of bulk.
void Flow::note_fill(std::size_t bytes) noexcept {
    if (bytes >= context_.scratch().size()) {
        bulk_ = true;
        small_fills_ = 0;
    } else if (bulk_ && ++small_fills_ >= small_fills_to_copy) {
        bulk_ = false;
        small_fills_ = 0;
    }
}

Flow::Step Flow::source_ended(int error) noexcept {
    source_ended_ = true;
    error_ = error != 0 ? error : broken_source_error_;
    return Step::progress;
}

Flow::Step Flow::destination_failed(int error) noexcept {
    error_ = error;
    state_ = State::destination_failed;
    rest_.reset();
    rest_size_ = 0;
    pipe_.give_back();
    return Step::progress;
}

Flow::Step Flow::drain() noexcept { return rest_size_ != 0 ? drain_rest() : drain_pipe(); }

Flow::Step Flow::drain_rest() noexcept {
    const IoResult out =
        sys::send(destination_.fd(), std::span{rest_.get() + rest_begin_, rest_size_});
    switch (out.status) {
    case Io::moved:
        bytes_moved_ += out.bytes;
        rest_begin_ += static_cast<std::uint32_t>(out.bytes);
        rest_size_ -= static_cast<std::uint32_t>(out.bytes);
        if (rest_size_ == 0) rest_.reset();
        return Step::progress;
    case Io::would_block: destination_.clear_writable(); return Step::blocked;
    default: return destination_failed(out.error);
    }
}

Flow::Step Flow::drain_pipe() noexcept {
    if (splice_works_ && context_.may_splice()) {
        const IoResult out = sys::splice(pipe_.read_end(), destination_.fd(), pipe_.bytes());
        switch (out.status) {
        case Io::moved:
            bytes_moved_ += out.bytes;
            pipe_.drained(out.bytes);
            return Step::progress;
        case Io::would_block: destination_.clear_writable(); return Step::blocked;
        default: break;
        }
        if (!is_refusal(out.error) && !is_out_of_memory(out.error))
            return destination_failed(out.error);
        if (is_refusal(out.error)) {
            splice_works_ = false;
            context_.splice_refused(out.error);
        }
    }
    return drain_pipe_by_copy();
}

// Splicing out was refused with bytes in the pipe: fetch them.
Flow::Step Flow::drain_pipe_by_copy() noexcept {
    const std::span<std::byte> scratch = context_.scratch();
    const IoResult in =
        sys::read(pipe_.read_end(), scratch.first(std::min(scratch.size(), pipe_.bytes())));
    if (in.status != Io::moved) return destination_failed(in.error != 0 ? in.error : EIO);
    pipe_.drained(in.bytes);
    return send_or_keep(scratch.first(in.bytes));
}

Flow::Step Flow::send_or_keep(std::span<const std::byte> bytes) noexcept {
    const IoResult out = sys::send(destination_.fd(), bytes);
    if (out.status == Io::error) return destination_failed(out.error);
    if (out.status == Io::would_block) destination_.clear_writable();

    bytes_moved_ += out.bytes;
    const std::span<const std::byte> rest = bytes.subspan(out.bytes);
    if (rest.empty()) return Step::progress;
    rest_.reset(new (std::nothrow) std::byte[rest.size()]);
    if (!rest_) return destination_failed(ENOMEM);
    std::memcpy(rest_.get(), rest.data(), rest.size());
    rest_begin_ = 0;
    rest_size_ = static_cast<std::uint32_t>(rest.size());
    return Step::progress;
}

}  // namespace eplb
