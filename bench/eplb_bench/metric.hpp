#pragma once

#include "cell.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace eplb::bench {

/// What is measured of a run. Not every metric makes sense in every cell.
enum class Metric : std::uint8_t {
    operations,  ///< per second
    gigabits,    ///< per second
    p50,
    p99,
    p999,
    cpu_per_op,  ///< of the proxy, microseconds
    cpu_per_gb,  ///< of the proxy, seconds per 10^9 bytes
    cpu_share,   ///< of the proxy, of one processor
    load_share,  ///< of load and backends, of one processor
    answered,    ///< connections
    rss,         ///< of the proxy
    pss,
    per_connection,  ///< rss above that before the first connection
    threads,
    descriptors,
    failures,
};
constexpr std::size_t metric_count = static_cast<std::size_t>(Metric::failures) + 1;

struct MetricInfo {
    std::string_view key;    ///< in JSON
    std::string_view title;  ///< in a table
    int precision;
};
[[nodiscard]] const MetricInfo& info_of(Metric metric) noexcept;

/// A column of the table of a kind of cell.
struct Column {
    Metric metric;
    bool spread = false;  ///< with least and greatest of the rounds
};
[[nodiscard]] std::span<const Column> columns_of(Kind kind) noexcept;
/// The metrics for which a kind's table shows the ratio to the reference design: what it achieves,
/// and what that costs.
[[nodiscard]] std::span<const Metric> ratios_of(Kind kind) noexcept;

/// What one run found.
struct Sample {
    std::array<std::optional<double>, metric_count> values;
    std::map<std::string, std::uint64_t> errors;
    std::string failure;  ///< why there is no result; empty when there is one
    std::string remark;   ///< what the proxy said on standard error, if anything went wrong

    [[nodiscard]] bool ok() const noexcept { return failure.empty(); }
    [[nodiscard]] std::optional<double>& operator[](Metric metric) noexcept {
        return values[static_cast<std::size_t>(metric)];
    }
    [[nodiscard]] const std::optional<double>& operator[](Metric metric) const noexcept {
        return values[static_cast<std::size_t>(metric)];
    }
};

}  // namespace eplb::bench
