#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>

namespace eplb::test {

/// What went through a connection. Compares like a string, and prints short when a check fails.
class Bytes {
public:
    Bytes() = default;
    Bytes(std::string data) : data_{std::move(data)} {}
    Bytes(const char* data) : data_{data} {}

    [[nodiscard]] std::size_t size() const noexcept { return data_.size(); }
    [[nodiscard]] bool empty() const noexcept { return data_.empty(); }
    [[nodiscard]] std::string_view view() const noexcept { return data_; }

    void append(std::string_view more) { data_.append(more); }
    void erase_front(std::size_t count) { data_.erase(0, count); }

    friend bool operator==(const Bytes& a, const Bytes& b) { return a.data_ == b.data_; }
    friend Bytes operator+(const Bytes& a, const Bytes& b) { return Bytes{a.data_ + b.data_}; }
    friend std::ostream& operator<<(std::ostream& out, const Bytes& bytes);

private:
    std::string data_;
};

/// `size` bytes that say to which connection (`key`) and to which place in its stream they belong:
/// a byte that is lost, doubled, out of order or of another connection makes a difference.
[[nodiscard]] Bytes pattern(std::size_t size, std::uint64_t key = 0);

}  // namespace eplb::test
