#pragma once

#include "config/config_reader.hpp"

#include <span>
#include <string>
#include <string_view>

namespace eplb::test {

/// A line for each, in their order: "3:12: error: ...", "--workers: warning: ...". Empty: nothing.
[[nodiscard]] std::string told(const control::Diagnostics& diagnostics);

struct Reading {
    control::Settings settings;  ///< built in, if the text is no TOML
    std::string told;
};

[[nodiscard]] Reading read_config(std::string_view text, const control::Node* flags = nullptr);

/// The least that makes sense, in two pieces to put something between, and as it is.
constexpr std::string_view service_head = "[[service]]\nlisten = \":5555\"\n";
constexpr std::string_view first_backend = "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n";
constexpr std::string_view smallest =
    "[[service]]\nlisten = \":5555\"\n[[service.backend]]\naddress = \"127.0.0.1:3306\"\n";

/// Where lines stand in a file that makes sense without them.
enum class In {
    file,            ///< they are all of it
    process,         ///< above all tables, from line 1
    log,             ///< [log], from line 2
    dns,             ///< [dns], from line 2
    defaults,        ///< [defaults], from line 2
    service,         ///< the [[service]], from line 3
    listen,          ///< the same, without another `listen`, from line 2
    check,           ///< its [service.check], from line 4
    backend,         ///< its [[service.backend]], from line 5, which is the last
    second_backend,  ///< another [[service.backend]], from line 7
    second_address,  ///< the same, without another `address`, from line 6
};

[[nodiscard]] std::string file_with(In where, std::string_view lines);

/// A row of a table: what is told of a file.
struct Told {
    In where;
    std::string_view lines;
    std::string_view told;  ///< all of it, as told() has it
};

/// A CHECK for each, which says with which file it failed.
void check_rows(std::span<const Told> rows);

/// Of rows that are true of several keys: `text` with the key in the place of each "KEY".
[[nodiscard]] std::string with_key(std::string_view text, std::string_view key);

/// The key of `key = value`.
[[nodiscard]] std::string key_of(std::string_view line);

}  // namespace eplb::test
