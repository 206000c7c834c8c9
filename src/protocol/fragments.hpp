#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace eplb {

/// One message that came in up to four pieces, which stay where they are: nothing is joined. A view.
class Fragments {
public:
    static constexpr std::size_t max_pieces = 4;

    /// `piece` comes behind the others.
    void add(std::span<const std::byte> piece) noexcept {
        assert(count_ < max_pieces);
        pieces_[count_++] = piece;
        size_ += piece.size();
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// Copies what begins at `from` and fills `to`; it is there.
    void copy(std::size_t from, std::span<std::byte> to) const noexcept {
        assert(from <= size_ && to.size() <= size_ - from);
        for (std::size_t i = 0; !to.empty(); ++i) {
            const std::span<const std::byte> piece = pieces_[i];
            if (from >= piece.size()) {
                from -= piece.size();
                continue;
            }
            const std::size_t part = std::min(piece.size() - from, to.size());
            std::memcpy(to.data(), piece.data() + from, part);
            to = to.subspan(part);
            from = 0;
        }
    }

private:
    std::array<std::span<const std::byte>, max_pieces> pieces_{};
    std::size_t count_ = 0;
    std::size_t size_ = 0;
};

/// Reads numbers (big-endian) and parts out of a message, or a part of one, in their order. Who asks
/// for more than there is gets zeros and an empty part, from then on: failed() is looked at once, when
/// all was read. Refers to the message.
class FragmentCursor {
public:
    /// Over all of `message`.
    explicit FragmentCursor(const Fragments& message) noexcept
        : message_{&message}, end_{message.size()} {}

    [[nodiscard]] std::uint8_t u8() noexcept { return static_cast<std::uint8_t>(number<1>()); }
    [[nodiscard]] std::uint16_t u16() noexcept { return static_cast<std::uint16_t>(number<2>()); }
    [[nodiscard]] std::uint32_t u24() noexcept { return number<3>(); }

    /// The next `size` bytes, to be read apart.
    [[nodiscard]] FragmentCursor take(std::size_t size) noexcept {
        FragmentCursor part = *this;
        if (!advance(size)) size = 0;
        part.failed_ = failed_;
        part.end_ = part.at_ + size;
        return part;
    }
    void skip(std::size_t size) noexcept { (void)advance(size); }
    /// Fills `to` with the next bytes; false, and nothing is written, if there are not so many.
    [[nodiscard]] bool copy(std::span<std::byte> to) noexcept {
        const std::size_t from = at_;
        if (!advance(to.size())) return false;
        message_->copy(from, to);
        return true;
    }

    /// What is left.
    [[nodiscard]] std::size_t size() const noexcept { return end_ - at_; }
    [[nodiscard]] bool empty() const noexcept { return at_ == end_; }
    /// There was less than was asked for.
    [[nodiscard]] bool failed() const noexcept { return failed_; }

private:
    template <std::size_t bytes>
    std::uint32_t number() noexcept {
        std::array<std::byte, bytes> digits{};
        (void)copy(digits);
        std::uint32_t value = 0;
        for (const std::byte digit : digits) {
            value = value << 8 | std::to_integer<std::uint32_t>(digit);
        }
        return value;
    }
    bool advance(std::size_t size) noexcept {
        if (size > this->size()) {
            failed_ = true;
            at_ = end_;
            return false;
        }
        at_ += size;
        return true;
    }

    const Fragments* message_;
    std::size_t at_ = 0;
    std::size_t end_;
    bool failed_ = false;
};

}  // namespace eplb
