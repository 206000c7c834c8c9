#include "proxy/failed_attempts.hpp"

#include <cstdint>
#include <utility>

namespace eplb {
namespace {

constexpr std::size_t least_slots = 4;

}  // namespace

void FailedAttempts::add(std::shared_ptr<const Backend> backend, int error,
                         std::string_view option) {
    if (list_.size() == list_.capacity()) list_.reserve(list_.empty() ? 2 : list_.size() * 2);
    if ((list_.size() + 1) * 2 > table_.size()) {
        std::vector<const Backend*> larger(table_.empty() ? least_slots : table_.size() * 2);
        table_.swap(larger);
        for (const FailedAttempt& attempt : list_) note(*attempt.backend);
    }
    note(*backend);
    list_.push_back({std::move(backend), error, option});
}

// Their addresses differ in the middle bits, which the multiplication carries to the upper ones.
std::size_t FailedAttempts::home(const Backend& backend) const noexcept {
    const std::uint64_t hash = reinterpret_cast<std::uintptr_t>(&backend) * 0x9e37'79b9'7f4a'7c15U;
    return static_cast<std::size_t>(hash >> 32) & (table_.size() - 1);
}

void FailedAttempts::note(const Backend& backend) noexcept {
    std::size_t slot = home(backend);
    while (table_[slot] != nullptr && table_[slot] != &backend) slot = next(slot);
    table_[slot] = &backend;
}

}  // namespace eplb
