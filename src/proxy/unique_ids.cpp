#include "proxy/unique_ids.hpp"

#include "base/random_word.hpp"
#include <fmt/format.h>

namespace eplb {

std::string UniqueIds::next() {
    if (!drawn_) {
        sequence_ = random_word();
        place_ = random_word();
        drawn_ = true;
    }
    return fmt::format("{:016x}{:016x}", sequence_, place_++);
}

}  // namespace eplb
