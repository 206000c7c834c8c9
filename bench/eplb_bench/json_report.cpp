#include "json_report.hpp"

#include "machine.hpp"
#include "temp_dir.hpp"

#include <nlohmann/json.hpp>

namespace eplb::bench {
namespace {

using nlohmann::json;

json to_json(const Spread& spread) {
    return {{"median", spread.median}, {"least", spread.least}, {"greatest", spread.greatest}};
}

json to_json(const Sample& sample) {
    json result{{"ok", sample.ok()}};
    for (std::size_t i = 0; i < metric_count; ++i) {
        const auto metric = static_cast<Metric>(i);
        if (sample[metric]) result[std::string{info_of(metric).key}] = *sample[metric];
    }
    if (!sample.errors.empty()) result["errors"] = sample.errors;
    if (!sample.failure.empty()) result["failure"] = sample.failure;
    if (!sample.remark.empty()) result["remark"] = sample.remark;
    return result;
}

json to_json(const Series& series, const Series* reference) {
    json result{{"design", series.design}, {"samples", json::array()}};
    for (const auto& sample : series.rounds)
        result["samples"].push_back(sample ? to_json(*sample) : json{});
    for (std::size_t i = 0; i < metric_count; ++i) {
        const auto metric = static_cast<Metric>(i);
        const std::string key{info_of(metric).key};
        if (const auto spread = spread_of(series, metric))
            result["aggregates"][key] = to_json(*spread);
        if (reference == nullptr) continue;
        if (const auto ratio = ratio_of(series, *reference, metric))
            result["ratios"][key] = to_json(*ratio);
    }
    return result;
}

json to_json(const CellResult& cell, const std::string& reference) {
    const Work& work = cell.cell.work;
    json result{{"cell", cell.cell.name},
                {"work",
                 {{"idle_connections", work.idle},
                  {"ping_connections", work.ping},
                  {"message_bytes", work.message_bytes},
                  {"push_streams", work.push},
                  {"pull_streams", work.pull},
                  {"connecting", work.churn}}}};
    const Series* const base = reference.empty() ? nullptr : cell.find(reference);
    for (const Series& series : cell.series) result["designs"].push_back(to_json(series, base));
    return result;
}

}  // namespace

void write_json(const std::filesystem::path& file, const Provenance& provenance,
                const Results& results) {
    const Machine machine = this_machine();
    json document{{"machine",
                   {{"cpu", machine.cpu},
                    {"processors", machine.processors},
                    {"kernel", machine.kernel},
                    {"descriptors_per_process", provenance.descriptors}}},
                  {"command_line", provenance.command_line},
                  {"started", provenance.started},
                  {"pinning", provenance.pinning},
                  {"rounds", provenance.options.rounds},
                  {"seconds", provenance.options.seconds},
                  {"warm_up_seconds", provenance.options.warm_up_seconds},
                  {"reference", results.reference},
                  {"interrupted", results.interrupted},
                  {"missing", provenance.missing},
                  {"cells", json::array()}};
    for (const Design& design : provenance.designs) {
        document["designs"].push_back({{"name", design.name},
                                       {"what", design.what},
                                       {"version", design.version},
                                       {"pinned", design.pinned && provenance.options.pin}});
    }
    for (const CellResult& cell : results.cells)
        document["cells"].push_back(to_json(cell, results.reference));
    write_file(file, document.dump(1) + "\n");
}

}  // namespace eplb::bench
