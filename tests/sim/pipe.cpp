#include "sim/pipe.hpp"

#include <algorithm>
#include <cerrno>

namespace sim {

using eplb::sys::Io;
using eplb::sys::IoResult;

std::span<const std::byte> Pipe::piece(std::size_t index) const noexcept {
    const Piece& piece = pieces_[index];
    return std::span{piece.bytes}.subspan(piece.begin);
}

void Pipe::push(std::span<const std::byte> bytes) {
    pieces_.push_back({{bytes.begin(), bytes.end()}, 0});
    bytes_ += bytes.size();
}

void Pipe::drop(std::size_t count) noexcept {
    bytes_ -= count;
    while (count > 0) {
        Piece& front = pieces_.front();
        const std::size_t part = std::min(count, front.bytes.size() - front.begin);
        front.begin += part;
        count -= part;
        if (front.begin == front.bytes.size()) pieces_.pop_front();
    }
}

int Pipe::resize(std::size_t slots) noexcept {
    if (slots < pieces_.size()) return EBUSY;
    slots_ = slots;
    return 0;
}

IoResult PipeEnd::read(std::span<std::byte> buffer) noexcept {
    if (is_writer_) return {Io::error, EBADF, 0};
    if (pipe_.empty()) {
        return pipe_.writers == 0 ? IoResult{Io::eof, 0, 0} : IoResult{Io::would_block, 0, 0};
    }
    std::size_t copied = 0;
    while (copied < buffer.size() && !pipe_.empty()) {
        const std::span<const std::byte> piece = pipe_.piece(0);
        const std::size_t part = std::min(piece.size(), buffer.size() - copied);
        std::copy_n(piece.begin(), part, buffer.begin() + static_cast<std::ptrdiff_t>(copied));
        pipe_.drop(part);
        copied += part;
    }
    return {Io::moved, 0, copied};
}

IoResult PipeEnd::write(std::span<const std::byte> bytes) noexcept {
    if (!is_writer_) return {Io::error, EBADF, 0};
    if (pipe_.readers == 0) return {Io::error, EPIPE, 0};
    std::size_t copied = 0;
    while (copied < bytes.size() && !pipe_.full()) {
        const std::size_t part = std::min(Pipe::page, bytes.size() - copied);
        pipe_.push(bytes.subspan(copied, part));
        copied += part;
    }
    if (copied == 0) return {Io::would_block, 0, 0};
    return {Io::moved, 0, copied};
}

}  // namespace sim
