#include "proxy/unique_ids.hpp"

#include <fmt/format.h>
#include <random>

namespace eplb {

std::string UniqueIds::next() {
    if (!drawn_) {
        std::random_device device;
        const auto draw = [&] { return std::uint64_t{device()} << 32 | device(); };
        sequence_ = draw();
        place_ = draw();
        drawn_ = true;
    }
    return fmt::format("{:016x}{:016x}", sequence_, place_++);
}

}  // namespace eplb
