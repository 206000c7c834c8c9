#pragma once

#include "app/flags.hpp"
#include "config/config_file.hpp"

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace eplb::app {

/// What the user asked for makes no sense; the message says what, where, and the way out.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct CommandLine {
    enum class Action : std::uint8_t {
        serve,
        test,  ///< check the configuration, and leave
        dump,  ///< print the effective configuration, and leave
    };

    Action action = Action::serve;
    /// The file, and what the options say in the file's terms. What they hold is not checked yet.
    control::ConfigSource source;
    bool strict = false;  ///< warnings of the configuration are errors
    bool quiet = false;   ///< no lines below warnings
    /// Set when the user asked for help or the version: print it and leave.
    std::optional<std::string> answer;
};

/// What is wrong with options, instead of what CLI11 says (`what`) of it.
[[nodiscard]] std::string option_problem(std::string_view what);
/// The same for a word that is no option of ours, which are called `names`.
[[nodiscard]] std::string unknown_option(std::string_view word,
                                         const std::vector<std::string>& names);

/// `arguments` without the program's name. Throws UsageError.
[[nodiscard]] CommandLine parse_command_line(std::vector<std::string> arguments);
/// The options that it takes.
[[nodiscard]] std::vector<Flag> serve_flags();

}  // namespace eplb::app
