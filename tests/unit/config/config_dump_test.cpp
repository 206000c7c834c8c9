#include "config/config_dump.hpp"

#include "config/config_keys.hpp"
#include "config/config_reader.hpp"
#include "config/toml_document.hpp"
#include "support/catch.hpp"
#include "support/config_nodes.hpp"

#include <cstddef>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace eplb::control;
using eplb::test::contains;
using eplb::test::ends_with;
using eplb::test::starts_with;
using eplb::test::word;

namespace {

Settings read(std::string_view text, const Node* flags = nullptr) {
    Diagnostics diagnostics;
    const Node root = parse_toml(text, diagnostics);
    Settings settings = read_settings(&root, flags, diagnostics);
    INFO(text);
    INFO(to_text(diagnostics, "f", text));
    CHECK_FALSE(diagnostics.has_errors());
    return settings;
}

// Without the comments, which say where a value comes from.
std::string values_of(std::string_view dumped) {
    std::string result;
    while (!dumped.empty()) {
        const std::size_t end = dumped.find('\n');
        std::string_view line = dumped.substr(0, end);
        line = line.substr(0, line.rfind(" # "));
        line = line.substr(0, line.find_last_not_of(' ') + 1);
        result += line;
        result += '\n';
        dumped.remove_prefix(end + 1);
    }
    return result;
}

// The comment of the first line that sets `key`.
std::string comment_of(const std::string& dumped, const std::string& key) {
    const std::size_t begin = dumped.find("\n" + key + " = ");
    if (begin == std::string::npos) return "there is no such line";
    const std::string line = dumped.substr(begin + 1, dumped.find('\n', begin + 1) - begin - 1);
    const std::size_t comment = line.rfind(" # ");
    return comment == std::string::npos ? "there is no comment" : line.substr(comment + 3);
}

constexpr std::string_view smallest =
    "[[service]]\nlisten = \":5555\"\n[[service.backend]]\naddress = \"127.0.0.1:3306\"\n";

}  // namespace

TEST_CASE(
    "config dump: every key has a line, in the order of the reference, with where its value "
    "comes from",
    "[control][config_dump]") {
    const auto defaults_of = [](const auto& table) {
        std::string lines;
        for (const KeyInfo& key : table) {
            if (!key.default_value.empty())
                lines += fmt::format("{:<40} # default\n", key.name + " = " + key.default_value);
        }
        return lines;
    };
    const std::string dumped = dump(read(smallest), "eplb.toml");
    CHECK(dumped == defaults_of(process_keys()) + "\n[log]\n" + defaults_of(log_keys()) +
                        "\n[dns]\n" + defaults_of(dns_keys()) +
                        "\n[[service]]\n"
                        "listen = [\":5555\"]                       # eplb.toml:2\n" +
                        defaults_of(service_keys()) +
                        "\n[service.check]\n"
                        "type = \"none\"                            # default\n" +
                        "\n[[service.backend]]\n"
                        "address = \"127.0.0.1:3306\"               # eplb.toml:4\n" +
                        defaults_of(backend_keys()));
    // To see what that is.
    CHECK_THAT(dumped, starts_with("workers = 1                              # default\n"
                                   "max_connections = \"auto\"                 # default\n"));
    CHECK_THAT(dumped, contains("\nconnect_timeout = \"5s\"                   # default\n"
                                "retries = \"auto\"                         # default\n"));
    CHECK_THAT(dumped, ends_with("\nmax_connections = 0                      # default\n"));
}

TEST_CASE("config dump: a value comes from the file, from [defaults] or from an option",
          "[control][config_dump]") {
    Node defaults;
    defaults.kind = Node::Kind::table;
    defaults.members = {{"drain_timeout", {}, word("1m", "--drain-timeout")}};
    Node flags;
    flags.kind = Node::Kind::table;
    flags.members = {{"workers", {}, word("auto", "--workers")}, {"defaults", {}, defaults}};
    const std::string dumped = dump(read("busy_poll = \"50us\"\n"
                                         "[defaults]\n"
                                         "idle_timeout = \"5m\"\n"
                                         "drain_timeout = \"2m\"\n"
                                         "[[service]]\n"
                                         "name = \"mysql\"\n"
                                         "listen = \":1\"\n"
                                         "relay = \"copy\"\n"
                                         "[[service.backend]]\n"
                                         "address = \"10.0.0.1:1\"\n"
                                         "weight = 3\n"
                                         "name = \"db\"\n",
                                         &flags),
                                    "/etc/eplb.toml");
    CHECK_THAT(dumped, contains("workers = \"auto\"                         # --workers\n"));
    CHECK(comment_of(dumped, "busy_poll") == "/etc/eplb.toml:1");
    CHECK(comment_of(dumped, "control") == "default");
    CHECK(comment_of(dumped, "idle_timeout") == "/etc/eplb.toml:3 [defaults]");
    CHECK(comment_of(dumped, "drain_timeout") == "--drain-timeout");
    CHECK(comment_of(dumped, "name") == "/etc/eplb.toml:6");
    CHECK(comment_of(dumped, "listen") == "/etc/eplb.toml:7");
    CHECK(comment_of(dumped, "relay") == "/etc/eplb.toml:8");
    CHECK(comment_of(dumped, "backlog") == "default");
    const std::string backend = dumped.substr(dumped.find("[[service.backend]]"));
    CHECK(comment_of(backend, "address") == "/etc/eplb.toml:10");
    CHECK(comment_of(dumped, "weight") == "/etc/eplb.toml:11");
    CHECK_THAT(dumped,
               contains("name = \"db\"                              # /etc/eplb.toml:12\n"));
    CHECK_THAT(dumped, contains("drain_timeout = \"1m\" "));
}

TEST_CASE("config dump: a name that follows from something else is not told",
          "[control][config_dump]") {
    CHECK(dump(read(smallest), "f").find("name = ") == std::string::npos);
}

TEST_CASE("config dump: an option cannot write lines of its own", "[control][config_dump]") {
    Node flags;
    flags.kind = Node::Kind::table;
    flags.members = {{"workers", {}, word("2", "--workers\nworkers = 3 \x1b[0m")}};
    CHECK(comment_of("\n" + dump(read(smallest, &flags), "f"), "workers") ==
          "--workers?workers = 3 ?[0m");
}

TEST_CASE("config dump: nor can the name of a file", "[control][config_dump]") {
    const std::string dumped = dump(read(smallest), "a\nworkers = 3 \x1b[0m");
    CHECK(dumped.find("\nworkers = 3") == std::string::npos);
    CHECK(dumped.find('\x1b') == std::string::npos);
}

TEST_CASE("config dump: read again, it says the same", "[control][config_dump]") {
    for (const std::string& text : {
             std::string{smallest},
             std::string{"workers = \"auto\"\nmax_connections = 7\nbusy_poll = \"1500us\"\n"
                         "control = \"unix:/run/eplb control.sock\"\n"} +
                 std::string{smallest},
             std::string{"[log]\nlevel = \"error\"\nformat = \"json\"\n"
                         "file = '/var/log/a\"b\\c # d.log'\nsessions = \"open+close\"\n"} +
                 std::string{smallest},
             std::string{"[defaults]\nconnect_timeout = \"off\"\nidle_timeout = \"36525d\"\n"
                         "half_close_timeout = \"90s\"\ndrain_timeout = \"0\"\n"
                         "on_remove = \"keep\"\nrelay = \"splice\"\npipe_size = \"100KiB\"\n"
                         "backlog = 1\naccept_proxy = \"any\"\n"
                         "trusted_proxies = [\"unix:\", \"::ffff:10.0.0.0/104\", \"::1\"]\n"
                         "send_proxy = \"v2\"\nproxy_tlvs = [\"authority\", \"crc32c\"]\n"
                         "allow = \"10.0.0.0/8\"\ndeny = [\"10.1.2.3\", \"2001:db8::/32\"]\n"
                         "max_connections_per_source = 7\n"
                         "connection_rate_per_source = \"1000/1h\"\nnodelay = false\n"
                         "keepalive = {idle = \"90s\", count = 3}\n"
                         "source = [\"::ffff:10.0.0.1\", \"2001:db8:0:0::1\", \"127.0.0.1\"]\n"
                         "interface = 'eth\"0'\nmark = 0xffffffff\ncongestion = \"bbr\"\n"
                         "transparent = true\nfast_open = 9\ndefer_accept = \"1500ms\"\n"
                         "unix_mode = \"60\"\n"} +
                 std::string{smallest} +
                 "[[service]]\nname = \"a#b\"\nlisten = [\":1\", \"unix:/x \\\"y\\\" \\n#.sock\", "
                 "\"[::1]:1234\", \"host.example:2\"]\nrelay = \"copy\"\n"
                 "keepalive = \"off\"\n"
                 "[[service.backend]]\naddress = \"unix:\xc3\xa4\"\nname = \"x'y\"\nweight = 0\n"
                 "[[service.backend]]\naddress = \"db.example:1\"\nweight = 65535\n",
         }) {
        INFO(text);
        const std::string once = dump(read(text), "eplb.toml");
        INFO(once);
        const std::string twice = dump(read(once), "dumped.toml");
        CHECK(values_of(twice) == values_of(once));
    }
}

TEST_CASE("config dump: read again, services have the names that they had",
          "[control][config_dump]") {
    const Settings settings =
        read(dump(read(std::string{smallest} + "[[service]]\nname = \"x\"\nlisten = \":1\"\n"
                                               "[[service.backend]]\naddress = \"10.0.0.1:1\"\n"),
                  "f"));
    REQUIRE(settings.services.size() == 2);
    CHECK(settings.services[0].values.config.name == ":5555");
    CHECK(settings.services[1].values.config.name == "x");
}

TEST_CASE("config dump: of no services it shows what there is", "[control][config_dump]") {
    const std::string dumped = dump(Settings{}, "f");
    CHECK_THAT(dumped, contains("workers = 1 "));
    CHECK_THAT(dumped, contains("\n[log]\n"));
    CHECK(dumped.find("[[service]]") == std::string::npos);
}

TEST_CASE(
    "config dump: of a check what it looks at, so that it can be read again without a warning",
    "[control][config_dump]") {
    const std::string head{smallest};
    for (const std::string check :
         {"", "[service.check]\ntype = \"redis\"\npassword = \"s3cret\"\n",
          "[service.check]\ntype = \"redis\"\ninterval = \"100ms\"\n",
          "[service.check]\ntype = \"tcp\"\naddress = \"unix:/run/a b.sock\"\n",
          "[defaults.check]\ntype = \"http\"\nuser = \"eplb\"\npath = \"/x\"\n"}) {
        INFO(check);
        const Settings settings = read(head + check);
        const std::string dumped = dump(settings, "eplb.toml");
        Diagnostics diagnostics;
        const Node root = parse_toml(dumped, diagnostics);
        const Settings again = read_settings(&root, nullptr, diagnostics);
        CHECK(to_text(diagnostics, "dump", dumped).empty());
        eplb::CheckConfig expected = settings.services.at(0).check.values;
        expected.user = again.services.at(0).check.values.user;  // http has no use for it
        CHECK(again.services.at(0).check.values == expected);
    }
}
