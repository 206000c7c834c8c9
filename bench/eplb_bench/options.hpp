#pragma once

#include "design.hpp"

#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace eplb::bench {

/// What the user asked for makes no sense; the message says what, where, and the way out.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct Options {
    Programs programs;
    std::vector<std::string> cells;    ///< names or globs; empty: the short selection
    std::vector<std::string> designs;  ///< names or globs; empty: all but echo servers
    std::string reference;
    std::size_t rounds = 5;
    double seconds = 1;
    double warm_up_seconds = 0.3;
    bool full = false;
    bool pin = true;
    bool list = false;
    bool check_targets = false;
    std::filesystem::path json;
    std::filesystem::path plots;
    /// Set when the user asked for help: print it and leave.
    std::optional<std::string> answer;
};

/// `arguments` without the program's name. Throws UsageError.
[[nodiscard]] Options parse_options(std::vector<std::string> arguments);

}  // namespace eplb::bench
