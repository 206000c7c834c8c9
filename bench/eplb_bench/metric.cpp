#include "metric.hpp"

namespace eplb::bench {
namespace {

constexpr std::array<MetricInfo, metric_count> infos{{
    {"operations_per_second", "op/s", 0},
    {"gigabits_per_second", "Gb/s", 2},
    {"p50_us", "p50 µs", 0},
    {"p99_us", "p99 µs", 0},
    {"p999_us", "p99.9 µs", 0},
    {"proxy_cpu_us_per_operation", "CPU µs/op", 2},
    {"proxy_cpu_s_per_gb", "CPU s/GB", 3},
    {"proxy_cpu_percent", "CPU %", 1},
    {"load_cpu_percent", "load %", 0},
    {"answered", "answered", 0},
    {"rss_mib", "RSS MiB", 1},
    {"pss_mib", "PSS MiB", 1},
    {"rss_bytes_per_connection", "B/conn", 0},
    {"threads", "thr", 0},
    {"descriptors", "fds", 0},
    {"failures", "fail", 0},
}};

constexpr std::array idle_columns{Column{Metric::answered},  Column{Metric::per_connection, true},
                                  Column{Metric::rss},       Column{Metric::pss},
                                  Column{Metric::threads},   Column{Metric::descriptors},
                                  Column{Metric::cpu_share}, Column{Metric::failures}};
constexpr std::array ping_columns{Column{Metric::operations, true},
                                  Column{Metric::p50},
                                  Column{Metric::p99},
                                  Column{Metric::p999},
                                  Column{Metric::cpu_per_op, true},
                                  Column{Metric::cpu_share},
                                  Column{Metric::load_share},
                                  Column{Metric::rss},
                                  Column{Metric::threads},
                                  Column{Metric::descriptors},
                                  Column{Metric::failures}};
constexpr std::array bulk_columns{Column{Metric::gigabits, true},
                                  Column{Metric::cpu_per_gb, true},
                                  Column{Metric::cpu_share},
                                  Column{Metric::load_share},
                                  Column{Metric::rss},
                                  Column{Metric::threads},
                                  Column{Metric::descriptors},
                                  Column{Metric::failures}};
constexpr std::array fairness_columns{Column{Metric::operations},     Column{Metric::p50},
                                      Column{Metric::p99, true},      Column{Metric::p999},
                                      Column{Metric::gigabits, true}, Column{Metric::cpu_share},
                                      Column{Metric::threads},        Column{Metric::descriptors},
                                      Column{Metric::failures}};

constexpr std::array idle_ratios{Metric::per_connection};
constexpr std::array ping_ratios{Metric::operations, Metric::cpu_per_op};
constexpr std::array bulk_ratios{Metric::gigabits, Metric::cpu_per_gb};
constexpr std::array fairness_ratios{Metric::p99, Metric::gigabits};
constexpr std::array latency_ratios{Metric::p50, Metric::cpu_per_op};

}  // namespace

const MetricInfo& info_of(Metric metric) noexcept {
    return infos[static_cast<std::size_t>(metric)];
}

std::span<const Column> columns_of(Kind kind) noexcept {
    switch (kind) {
    case Kind::idle: return idle_columns;
    case Kind::bulk: return bulk_columns;
    case Kind::fairness: return fairness_columns;
    case Kind::pingpong:
    case Kind::connect:
    case Kind::idle_cost:
    case Kind::latency: return ping_columns;
    }
    return {};
}

std::span<const Metric> ratios_of(Kind kind) noexcept {
    switch (kind) {
    case Kind::idle: return idle_ratios;
    case Kind::bulk: return bulk_ratios;
    case Kind::fairness: return fairness_ratios;
    case Kind::latency: return latency_ratios;
    case Kind::pingpong:
    case Kind::connect:
    case Kind::idle_cost: return ping_ratios;
    }
    return {};
}

}  // namespace eplb::bench
