#include "control/kernel_check.hpp"

#include "config/config_file.hpp"
#include "config/config_reader.hpp"
#include "config/toml_document.hpp"
#include "eplb/acceptor.hpp"
#include "support/catch.hpp"
#include "support/folder.hpp"
#include "support/net.hpp"
#include "support/reserved_port.hpp"

#include <fmt/format.h>
#include <string>
#include <string_view>
#include <vector>

using namespace eplb::control;
using eplb::Address;
using eplb::Fd;
using eplb::test::contains;
using eplb::test::Folder;

namespace {

struct Read {
    Settings settings;
    eplb::Config config;
};

Read read(const std::string& text) {
    Diagnostics diagnostics;
    const Node root = parse_toml(text, diagnostics);
    Read result;
    result.settings = read_settings(&root, nullptr, diagnostics);
    result.config = resolve(result.settings, diagnostics);
    REQUIRE_FALSE(diagnostics.has_errors());
    return result;
}

// The first line of each diagnostic.
std::vector<std::string> checked(const std::string& text, KernelCheck what = KernelCheck::all,
                                 bool tolerant = false, const std::string& running = {}) {
    const Read wanted = read(text);
    const OwnListeners own = running.empty() ? OwnListeners{} : OwnListeners{read(running).config};
    Diagnostics diagnostics;
    check_with_kernel(wanted.settings, wanted.config, what, own, tolerant, diagnostics);
    std::vector<std::string> lines;
    for (const Diagnostic& diagnostic : diagnostics.sorted())
        lines.push_back(to_text(diagnostic, "f", ""));
    return lines;
}

std::string service(std::string_view listen, std::string_view more = "") {
    return fmt::format(
        "[[service]]\nlisten = \"{}\"\n{}\n[[service.backend]]\naddress = \"127.0.0.1:1\"\n",
        listen, more);
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("kernel check: what is refused is told at its key", "[control][kernel_check]") {
    const eplb::test::ReservedPort port;
    const std::string listen = port.address.to_string();
    CHECK(checked(service(listen)) == Lines{});
    CHECK(checked(service(listen, "congestion = \"nosuch\"")) ==
          Lines{"f:3:14: error: congestion: the kernel does not take \"nosuch\" "
                "(net.ipv4.tcp_available_congestion_control has those there are): No such file or "
                "directory\n"});
    CHECK(checked(service(listen, "interface = \"nosuch0\"")) ==
          Lines{"f:3:13: error: interface: the kernel does not take \"nosuch0\" (there is no such "
                "interface now): No such device\n"});
    CHECK(checked(service(listen, "source = [\"127.0.0.1\", \"192.0.2.1\"]")) ==
          Lines{"f:3:10: error: source: connections cannot come from 192.0.2.1 (no interface has "
                "that address now): Cannot assign requested address\n"});
    // Said once, where it stands.
    CHECK(checked("[defaults]\ncongestion = \"nosuch\"\n" + service(listen) +
                  service("unix:@eplb-kernel-check"))
              .size() == 1);
}

TEST_CASE("kernel check: what may come by itself is a warning where that is tolerated",
          "[control][kernel_check]") {
    const eplb::test::ReservedPort port;
    const std::string listen = port.address.to_string();
    const auto told = [&](std::string_view more) {
        return checked(service(listen, more), KernelCheck::all, true);
    };
    CHECK_THAT(told("interface = \"nosuch0\"").at(0), contains("f:3:13: warning: interface: "));
    CHECK_THAT(told("source = \"192.0.2.1\"").at(0), contains("f:3:10: warning: source: "));
    CHECK_THAT(told("congestion = \"nosuch\"").at(0), contains("f:3:14: error: congestion: "));
}

TEST_CASE("kernel check: listeners are tried, but not where only options are",
          "[control][kernel_check]") {
    const Fd taken = eplb::listen_on(Address::parse("127.0.0.1:0"));
    const std::string listen = eplb::local_address(taken).to_string();
    CHECK(checked(service(listen)) ==
          Lines{fmt::format("f:2:10: error: cannot listen on {} (somebody listens there: ss -ltnp "
                            "tells who): Address already in use\n",
                            listen)});
    CHECK(checked(service(listen), KernelCheck::options) == Lines{});
    const Folder folder;
    CHECK_THAT(checked(service(folder.socket("none/s").to_string())).at(0),
               contains("(there is no such folder): No such file"));
    // Our own are not tried: they are open.
    CHECK(checked(service(listen), KernelCheck::all, false, service(listen)) == Lines{});
}

TEST_CASE("kernel check: what would take a restart is told", "[control][kernel_check]") {
    const eplb::test::ReservedPort port;
    const std::uint16_t number = port.address.port();
    const std::string before = service(fmt::format("127.0.0.1:{}", number));
    CHECK(checked(service(fmt::format("0.0.0.0:{}", number)), KernelCheck::all, false, before) ==
          Lines{fmt::format(
              "f:2:10: error: cannot go over from listener 127.0.0.1:{0} to 0.0.0.0:{0} "
              "without closing it: that takes a restart\n",
              number)});
}

TEST_CASE("kernel check: a log file that cannot be written is told", "[control][kernel_check]") {
    const eplb::test::ReservedPort port;
    const Folder folder;
    const auto log = [&](const std::string& name) {
        return checked(fmt::format("[log]\nfile = \"{}\"\n", folder.file(name).string()) +
                       service(port.address.to_string()));
    };
    CHECK(log("log") == Lines{});
    CHECK(std::filesystem::is_empty(folder.file("")));
    CHECK(log("none/log") ==
          Lines{fmt::format("f:2:8: error: file: cannot write the log file {}: No such file or "
                            "directory\n",
                            folder.file("none/log").string())});
    CHECK_THAT(log("").at(0), contains("Is a directory"));
}
