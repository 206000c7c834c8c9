#pragma once

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace eplb::control {

/// A configuration that cannot be used; the message names the file and says why.
class ConfigError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

constexpr std::size_t most_config_bytes = 1024 * 1024;

/// The whole of a configuration file, read at once. Throws ConfigError for whatever is no readable
/// regular file of at most most_config_bytes, or is no text; never waits for anybody, as reading a
/// FIFO would.
[[nodiscard]] std::string read_config_text(const std::filesystem::path& file);

}  // namespace eplb::control
