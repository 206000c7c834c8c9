#pragma once

#include "design.hpp"
#include "options.hpp"
#include "results.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace eplb::bench {

/// Everything that a result has to be quoted with, beside the results.
struct Provenance {
    std::vector<std::string> command_line;
    std::string started;  ///< in UTC, ISO 8601
    std::size_t descriptors = 0;
    std::string pinning;
    std::vector<Design> designs;
    std::vector<std::string> missing;
    Options options;
};

/// Writes every sample, and medians, extremes and ratios to the reference. Throws
/// std::system_error.
void write_json(const std::filesystem::path& file, const Provenance& provenance,
                const Results& results);

}  // namespace eplb::bench
