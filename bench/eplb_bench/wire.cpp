#include "wire.hpp"

#include <cerrno>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/mman.h>

namespace eplb::bench {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Work, idle, ping, message_bytes, push, pull, churn)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LoadSpec, targets, work, warm_up_seconds, seconds, proxy,
                                   backend)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LoadResult, asked, answered, seconds, operations, bytes, p50_us,
                                   p99_us, p999_us, proxy_cpu_seconds, load_cpu_seconds, errors,
                                   stopped)

std::string encode(const LoadSpec& spec) { return nlohmann::json(spec).dump(); }
LoadSpec decode_spec(const std::string& text) { return nlohmann::json::parse(text); }
std::string encode(const LoadResult& result) { return nlohmann::json(result).dump(); }
LoadResult decode_result(const std::string& text) { return nlohmann::json::parse(text); }

SharedCounters& map_counters(int fd) {
    void* const page =
        ::mmap(nullptr, sizeof(SharedCounters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) throw fmt::system_error(errno, "cannot map the shared counters");
    return *static_cast<SharedCounters*>(page);  // a fresh page is all zero, as the counters begin
}

}  // namespace eplb::bench
