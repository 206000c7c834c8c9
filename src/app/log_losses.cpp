#include "app/log_losses.hpp"

#include <cstring>
#include <fmt/format.h>
#include <string_view>

namespace eplb::app {

std::string to_text(const LogLosses& losses, int error) {
    std::string causes;
    const auto add = [&causes](std::uint64_t count, std::string_view cause) {
        if (count != 0) causes += fmt::format("{}{} {}", causes.empty() ? "" : ", ", count, cause);
    };
    add(losses.full, "because nobody reads the log fast enough");
    add(losses.memory, "for lack of memory");
    add(losses.write_error, fmt::format("could not be written ({})", std::strerror(error)));
    return fmt::format("{} log line{} dropped: {}", losses.all(), losses.all() == 1 ? "" : "s",
                       causes);
}

}  // namespace eplb::app
