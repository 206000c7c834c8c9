#pragma once

#include "results.hpp"

#include <filesystem>
#include <string>

namespace eplb::bench {

/// Writes figures against the number of connections, each as SVG and PNG, with a line per design:
/// throughput, p99 latency and processor time per operation of ping-pongs, the same beside idle
/// connections, and memory. A line ends where its design stopped working; the legend says why.
/// Leaves out figures for which fewer than two sizes were measured. Returns how many were drawn.
/// Throws std::runtime_error with gnuplot's words.
std::size_t draw_plots(const std::filesystem::path& directory, const Results& results);

}  // namespace eplb::bench
