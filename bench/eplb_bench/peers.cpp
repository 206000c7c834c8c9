#include "peers.hpp"

#include "temp_dir.hpp"

#include <array>
#include <filesystem>
#include <fmt/format.h>

namespace eplb::bench {
namespace {

// Without maxconn HAProxy takes what the limit of descriptors allows. With splicing it would
// reserve two more descriptors for every fourth connection. Fewer pipes are enough, because a pipe
// is used only while bytes are in it, and leave it more connections.
constexpr std::size_t haproxy_pipes = 512;
constexpr std::size_t haproxy_own_descriptors = 64;

std::string haproxy_splice_limits() {
    const std::size_t sessions = raise_descriptor_limit() / 2;
    const std::size_t reserved = haproxy_pipes + haproxy_own_descriptors / 2;
    if (sessions < 4 * reserved) return {};
    return fmt::format("    maxpipes {}\n    maxconn {}\n", haproxy_pipes, sessions - reserved);
}

}  // namespace

Command haproxy_command(const std::string& program, const Route& route, bool splice) {
    std::string text = fmt::format(
        "global\n"
        "    nbthread 1\n"
        "{}"
        "defaults\n"
        "    mode tcp\n"
        "    balance roundrobin\n"
        "    backlog 4096\n"
        "    retries 3\n"
        "    option redispatch 1\n"
        "    timeout connect 5s\n"
        "    timeout client 1h\n"
        "    timeout server 1h\n"
        "{}"
        "listen bench\n"
        "    bind {}\n",
        splice ? haproxy_splice_limits() : "", splice ? "    option splice-auto\n" : "",
        route.listen());
    for (std::size_t i = 0; i < route.backends.size(); ++i)
        text += fmt::format("    server s{} {}\n", i, route.backends[i]);
    const auto file = route.directory / "haproxy.cfg";
    write_file(file, text);
    return {program, "-db", "-f", file.string()};
}

Command nginx_command(const std::string& program, const std::string& stream_module,
                      const Route& route) {
    const std::size_t descriptors = raise_descriptor_limit();
    std::string text;
    if (!stream_module.empty()) text += fmt::format("load_module {};\n", stream_module);
    text += fmt::format(
        "daemon off;\n"
        "worker_processes 1;\n"
        "worker_rlimit_nofile {0};\n"
        "pid nginx.pid;\n"
        "error_log stderr error;\n"
        "events {{ worker_connections {0}; use epoll; }}\n"
        "stream {{\n"
        "    upstream bench {{\n",
        descriptors);
    for (const std::string& backend : route.backends)
        text += fmt::format("        server {};\n", backend);
    text += fmt::format(
        "    }}\n"
        "    server {{\n"
        "        listen {} backlog=4096;\n"
        "        proxy_pass bench;\n"
        "        proxy_connect_timeout 5s;\n"
        "        proxy_timeout 1h;\n"
        "        tcp_nodelay on;\n"
        "    }}\n"
        "}}\n",
        route.listen());
    const auto file = route.directory / "nginx.conf";
    write_file(file, text);
    return {program, "-p", route.directory.string(), "-e", "stderr", "-c", file.string()};
}

StreamModule find_stream_module(const std::string& version_text) {
    const bool dynamic = version_text.find("--with-stream=dynamic") != std::string::npos;
    if (!dynamic && version_text.find("--with-stream") != std::string::npos) return {true, {}};
    for (const char* file : {"/usr/lib/nginx/modules/ngx_stream_module.so",
                             "/usr/lib64/nginx/modules/ngx_stream_module.so",
                             "/usr/local/lib/nginx/ngx_stream_module.so"}) {
        if (std::filesystem::exists(file)) return {true, file};
    }
    return {};
}

}  // namespace eplb::bench
