#include "discovery/system_names.hpp"

#include "support/catch.hpp"
#include "support/folder.hpp"
#include "support/process.hpp"
#include "support/variable.hpp"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <sched.h>
#include <string>
#include <string_view>
#include <sys/mount.h>
#include <unistd.h>
#include <vector>

using namespace eplb::control;
using eplb::test::Folder;
using eplb::test::in_child;
using eplb::test::Variable;

namespace {

constexpr int no_namespace = 77;

// For in_child(): enters a system of its own, in which files and the name of the host can be others. Returns false when that
// cannot be had.
bool enter_other_system() {
    constexpr int own = CLONE_NEWNS | CLONE_NEWUTS;
    if (::unshare(own) != 0 && ::unshare(CLONE_NEWUSER | own) != 0) return false;
    return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

std::string text_of(const SystemNames& system) {
    std::string text = "servers";
    for (const eplb::Address& server : system.servers) text += " " + server.to_string();
    text += "\nsearch";
    for (const std::string& domain : system.search) text += " " + domain;
    text += fmt::format("\nndots {}\n{}", system.ndots, system.use_hosts ? "hosts" : "no hosts");
    for (const eplb::Address& address : system.hosts->find("db.test"))
        text += " " + address.to_string();
    return text;
}

struct System {
    std::string_view resolv_conf;
    std::string_view nsswitch_conf;
    std::string_view host_name;
};

// What is read on such a system; "skipped" when there can be none.
std::string read_on(const System& system) {
    const Folder folder;
    const auto resolv_conf = folder.written("resolv.conf", system.resolv_conf);
    const auto nsswitch_conf = folder.written("nsswitch.conf", system.nsswitch_conf);
    const auto hosts = folder.written("hosts", "10.0.0.1 db.test\n");
    const auto put = [](const std::filesystem::path& file, const char* path) {
        return ::mount(file.c_str(), path, nullptr, MS_BIND, nullptr) == 0;
    };
    const int status = in_child([&] {
        std::ofstream told{folder.file("told")};  // before there is nobody who may
        if (!enter_other_system() || !put(resolv_conf, "/etc/resolv.conf") ||
            !put(nsswitch_conf, "/etc/nsswitch.conf") || !put(hosts, "/etc/hosts") ||
            ::sethostname(system.host_name.data(), system.host_name.size()) != 0)
            return no_namespace;
        told << text_of(SystemNames::read()) << std::flush;
        return 0;
    });
    if (status == no_namespace) return "skipped";
    std::ifstream told{folder.file("told")};
    return {std::istreambuf_iterator<char>{told}, {}};
}

}  // namespace

TEST_CASE("system names: they are what resolv.conf, nsswitch.conf and hosts say",
          "[control][system_names]") {
    struct Row {
        System system;
        std::string_view told;
    };
    constexpr Row rows[] = {
        {{"nameserver 192.0.2.1\nnameserver 2001:db8::53\nsearch one.test two.test\noptions ndots:3\n",
          "hosts: files dns\n", "plain"},
         "servers 192.0.2.1:53 [2001:db8::53]:53\nsearch one.test two.test\nndots 3\nhosts 10.0.0.1:0"},
        {{"nameserver 192.0.2.1\ndomain one.test\n", "passwd: files\nhosts: dns\n", "plain"},
         "servers 192.0.2.1:53\nsearch one.test\nndots 1\nno hosts"},
        // Where nothing is said: this machine, the domain of its own name, and hosts.
        {{"", "", "host.home.test"},
         "servers 127.0.0.1:53\nsearch home.test\nndots 1\nhosts 10.0.0.1:0"},
        {{"# none\noptions ndots:0\n", "hosts: files\n", "plain"},
         "servers 127.0.0.1:53\nsearch\nndots 0\nhosts 10.0.0.1:0"},
    };
    for (const Row& row : rows) {
        INFO(row.system.resolv_conf);
        const std::string told = read_on(row.system);
        if (told == "skipped") EPLB_SKIP("no files of its own in the place of the system's");
        CHECK(told == row.told);
    }
}

TEST_CASE("system names: the environment wins, as resolv.conf(5) has it",
          "[control][system_names]") {
    const Variable options{"RES_OPTIONS", "ndots:4"};
    const Variable domains{"LOCALDOMAIN", "a.test b.test"};
    const SystemNames system = SystemNames::read();
    CHECK(system.ndots == 4);
    CHECK(system.search == std::vector<std::string>{"a.test", "b.test"});
    CHECK_FALSE(system.servers.empty());
}
