#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace eplb::control {

/// Where a value was said: in a file, or by an option of the command line.
struct Place {
    std::uint32_t line = 0;    ///< from 1; 0: not in a file
    std::uint32_t column = 0;  ///< from 1, in characters
    std::uint32_t length = 0;  ///< in characters, of its first line; 0: unknown
    /// "--workers", where it was an option.
    std::string flag;

    [[nodiscard]] bool in_file() const noexcept { return line != 0; }
};

enum class Severity : std::uint8_t { error, warning };

struct Diagnostic {
    Severity severity = Severity::error;
    Place place;
    std::string message;
};

/// Everything that is wrong with a configuration, so that one run tells all of it, and once: what is
/// said in [defaults] is looked at for every service. Of a file that is wrong everywhere it keeps the
/// first ones, and only counts the others, perhaps some of them twice.
class Diagnostics {
public:
    static constexpr std::size_t most_kept = 1000;

    void error(const Place& place, std::string message);
    void warning(const Place& place, std::string message);

    [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
    [[nodiscard]] bool has_errors() const noexcept { return errors_ != 0; }
    [[nodiscard]] std::size_t errors() const noexcept { return errors_; }
    [[nodiscard]] std::size_t warnings() const noexcept { return warnings_; }
    /// Those that are kept. Options first, then by place; what is about the same place in the order in which it was found.
    [[nodiscard]] std::vector<Diagnostic> sorted() const;

private:
    void add(Severity severity, const Place& place, std::string message);

    std::vector<Diagnostic> all_;
    std::unordered_set<std::string> told_;
    std::size_t errors_ = 0;
    std::size_t warnings_ = 0;
};

/// As compilers write it, for people and editors alike, with a line feed at the end:
///
///     eplb.toml:14:12: error: unknown balance "leastcon"; did you mean "leastconn"?
///        14 | balance = "leastcon"
///           |           ^~~~~~~~~~
///
/// `source`: the whole text of the file, for the line; without it, or where the line is not for a
/// terminal, the first line is all. What the file holds never reaches the terminal as control
/// characters. An option's: "eplb: --workers: ...".
[[nodiscard]] std::string to_text(const Diagnostic& diagnostic, std::string_view file,
                                  std::string_view source);

/// All of them; at most fifty, and then how many more there are.
[[nodiscard]] std::string to_text(const Diagnostics& diagnostics, std::string_view file,
                                  std::string_view source);

}  // namespace eplb::control
