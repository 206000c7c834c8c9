#pragma once

#include "eplb/proxy.hpp"

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace eplb {

/// Where a client could not be connected to, in the order of the attempts, and whether a backend is
/// among them, in O(1): a pick asks that of every backend there is. 8 to 16 bytes for each attempt,
/// besides what is listed.
class FailedAttempts {
public:
    /// Throws std::bad_alloc, and then nothing has changed. `option`: as FailedAttempt has it.
    void add(std::shared_ptr<const Backend> backend, int error, std::string_view option = {});
    [[nodiscard]] bool contains(const Backend& backend) const noexcept {
        if (list_.empty()) return false;
        for (std::size_t slot = home(backend);; slot = next(slot)) {
            if (table_[slot] == &backend) return true;
            if (table_[slot] == nullptr) return false;
        }
    }
    [[nodiscard]] const std::vector<FailedAttempt>& list() const noexcept { return list_; }
    [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }

private:
    [[nodiscard]] std::size_t home(const Backend& backend) const noexcept;
    [[nodiscard]] std::size_t next(std::size_t slot) const noexcept {
        return (slot + 1) & (table_.size() - 1);
    }
    void note(const Backend& backend) noexcept;

    std::vector<FailedAttempt> list_;    // keeps the backends: nobody else can have their addresses
    std::vector<const Backend*> table_;  // open addressing, a power of two, at most half full
};

}  // namespace eplb
