#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace eplb::app {

/// An option, as who types it sees it.
struct Flag {
    std::string short_name = {};  ///< "-c", or empty
    std::string long_name = {};   ///< "--config"
    std::string value = {};       ///< "FILE"; empty: it takes none
    std::string help = {};        ///< a line, without a full stop
    bool repeatable = false;
    std::vector<std::string> words = {};  ///< what the value may be, among others perhaps
};

/// What `app` takes, in its order.
[[nodiscard]] std::vector<Flag> flags_of(const CLI::App& app);

}  // namespace eplb::app
