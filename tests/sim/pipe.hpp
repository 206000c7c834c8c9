#pragma once

#include "base/sys.hpp"
#include "sim/file.hpp"

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

namespace sim {

/// A pipe as fs/pipe.c has it: a ring of slots. A slot holds one piece of a segment, however small;
/// it is free again when its last byte is gone.
class Pipe {
public:
    static constexpr std::size_t page = 4096;

    explicit Pipe(std::size_t slots) noexcept : slots_{slots} {}

    [[nodiscard]] std::size_t slots() const noexcept { return slots_; }
    [[nodiscard]] std::size_t free_slots() const noexcept {
        return slots_ > pieces_.size() ? slots_ - pieces_.size() : 0;
    }
    [[nodiscard]] bool full() const noexcept { return free_slots() == 0; }
    [[nodiscard]] bool empty() const noexcept { return pieces_.empty(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    /// What a slot at the reading end holds, `index` slots in.
    [[nodiscard]] std::span<const std::byte> piece(std::size_t index) const noexcept;
    [[nodiscard]] std::size_t pieces() const noexcept { return pieces_.size(); }

    /// Takes a slot; there must be one.
    void push(std::span<const std::byte> bytes);
    void drop(std::size_t count) noexcept;
    /// 0 or an errno.
    [[nodiscard]] int resize(std::size_t slots) noexcept;

    int readers = 1;
    int writers = 1;

private:
    struct Piece {
        std::vector<std::byte> bytes;
        std::size_t begin = 0;
    };

    std::size_t slots_;
    std::size_t bytes_ = 0;
    std::deque<Piece> pieces_;
};

class PipeEnd final : public File {
public:
    PipeEnd(Pipe& pipe, bool is_writer) noexcept : pipe_{pipe}, is_writer_{is_writer} {}
    [[nodiscard]] const char* kind() const noexcept override {
        return is_writer_ ? "pipe (write end)" : "pipe (read end)";
    }
    void release() noexcept override { --(is_writer_ ? pipe_.writers : pipe_.readers); }

    [[nodiscard]] Pipe& pipe() noexcept { return pipe_; }
    [[nodiscard]] bool is_writer() const noexcept { return is_writer_; }

    [[nodiscard]] eplb::sys::IoResult read(std::span<std::byte> buffer) noexcept;
    [[nodiscard]] eplb::sys::IoResult write(std::span<const std::byte> bytes) noexcept;

private:
    Pipe& pipe_;
    bool is_writer_;
};

}  // namespace sim
