#include "config/config_file.hpp"

#include "config/config_reader.hpp"
#include "config/config_text.hpp"
#include "config/toml_document.hpp"
#include "support/catch.hpp"
#include "support/config_nodes.hpp"
#include "support/folder.hpp"
#include "support/process.hpp"
#include "support/variable.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace eplb::control;
using eplb::Address;
using eplb::Config;
using eplb::RelayMode;
using eplb::ServiceConfig;
using eplb::test::array_of;
using eplb::test::contains;
using eplb::test::Folder;
using eplb::test::starts_with;
using eplb::test::table_of;
using eplb::test::Variable;
using eplb::test::word;

namespace {

// eplb.toml in a folder of its own, gone with it.
class ConfigFile {
public:
    explicit ConfigFile(std::string_view text) { write(text); }

    void write(std::string_view text) const { std::ofstream{path(), std::ios::binary} << text; }
    [[nodiscard]] fs::path path() const { return folder_.file("eplb.toml"); }
    [[nodiscard]] ConfigSource source() const {
        ConfigSource source;
        source.file = path();
        return source;
    }

private:
    Folder folder_;
};

std::string service_with(std::string_view backend_address, std::string_view listener = ":5555") {
    return "[[service]]\nlisten = \"" + std::string{listener} +
           "\"\n[[service.backend]]\naddress = \"" + std::string{backend_address} + "\"\n";
}
const std::string smallest = service_with("127.0.0.1:3306");

// What is said of the file, without its directory.
std::string report_of(const ConfigFile& file, const ConfigSource& source) {
    std::string report = load_config(source).report(source);
    const std::string path = file.path().string();
    for (std::size_t at = report.find(path); at != std::string::npos; at = report.find(path))
        report.replace(at, path.size(), "eplb.toml");
    return report;
}

std::string report_of(std::string_view text) {
    const ConfigFile file{text};
    return report_of(file, file.source());
}

Config resolved(const Settings& settings) {
    Diagnostics diagnostics;
    Config config = resolve(settings, diagnostics);
    CHECK(to_text(diagnostics, "f", "") == "");
    return config;
}

Settings settings_of(std::string_view text) {
    Diagnostics diagnostics;
    const Node root = parse_toml(text, diagnostics);
    Settings settings = read_settings(&root, nullptr, diagnostics);
    CHECK(to_text(diagnostics, "f", "") == "");
    return settings;
}

}  // namespace

TEST_CASE("config file: a file is read, checked and kept as text", "[control][config_file]") {
    const ConfigFile file{"workers = 3\n" + smallest};
    const LoadedConfig loaded = load_config(file.source());
    CHECK(loaded.diagnostics.empty());
    CHECK(loaded.report(file.source()).empty());
    CHECK(loaded.text == "workers = 3\n" + smallest);
    CHECK(loaded.settings.process.values.workers == 3u);
    REQUIRE(loaded.settings.services.size() == 1);
    CHECK(loaded.settings.services[0].backends.at(0).values.address.text == "127.0.0.1:3306");
}

TEST_CASE("config file: what was read once can be read again", "[control][config_file]") {
    const ConfigFile file{"workers = 3\n" + smallest};
    const ConfigSource source = file.source();
    CHECK(load_config(source).settings.process.values.workers == 3u);
    file.write("workers = 4\n" + smallest);
    CHECK(load_config(source).settings.process.values.workers == 4u);
    file.write("workers = 0\n" + smallest);
    CHECK(load_config(source).diagnostics.has_errors());
}

TEST_CASE("config file: a byte order mark and carriage returns do no harm",
          "[control][config_file]") {
    CHECK(report_of("\xef\xbb\xbf"
                    "workers = 3\r\n[[service]]\r\nlisten = \":5555\"\r\n[[service.backend]]\r\n"
                    "address = \"127.0.0.1:3306\"\r\n") == "");
    // The line is shown as it would be without.
    CHECK_THAT(report_of("workers = 3\r\nwrokers = 3\r\n" + smallest),
               starts_with("eplb.toml:2:1: error: unknown key \"wrokers\"; did you mean "
                           "\"workers\"?\n    2 | wrokers = 3\n      | ^~~~~~~\n"));
}

TEST_CASE("config file: the report names the file and shows the lines", "[control][config_file]") {
    CHECK(report_of("[[service]]\nlisten = \":5555\"\nrelay = \"spilce\"\nidle_timeout = 5\n"
                    "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n") ==
          "eplb.toml:3:9: error: unknown relay \"spilce\"; did you mean \"splice\"?\n"
          "    3 | relay = \"spilce\"\n"
          "      |         ^~~~~~~~\n"
          "eplb.toml:4:16: error: idle_timeout: a duration needs a unit; did you mean \"5s\"?\n"
          "    4 | idle_timeout = 5\n"
          "      |                ^\n");
    CHECK(
        report_of("drain_timeout") ==
        "eplb.toml:1:14: error: there is no = behind the key; each line is: key = value, a [header], or a # comment\n"
        "    1 | drain_timeout\n"
        "      |              ^\n");
    CHECK_THAT(report_of(""), starts_with("eplb.toml:1:1: error: no service; add: [[service]]"));
}

TEST_CASE("config file: after a slip in the syntax, nothing is said of what could not be read",
          "[control][config_file]") {
    CHECK(
        report_of("workers = yes\n") ==
        "eplb.toml:1:11: error: this is no value; text stands in quotes, \" or ', and what is no text is a number, true, false, [...] or {...}\n"
        "    1 | workers = yes\n"
        "      |           ^\n");
    const std::string deep = "a = " + std::string(1000, '[');
    CHECK(report_of(deep) == "eplb.toml:1:21: error: nested more than 16 deep\n");
}

TEST_CASE("config file: what is wrong beside a key given twice is told too",
          "[control][config_file]") {
    CHECK(report_of("workers = 1\nworkers = 2\nwrokers = 3\n" + smallest) ==
          "eplb.toml:2:1: error: \"workers\" is given twice; first in line 1\n"
          "    2 | workers = 2\n"
          "      | ^~~~~~~\n"
          "eplb.toml:3:1: error: unknown key \"wrokers\"; did you mean \"workers\"?\n"
          "    3 | wrokers = 3\n"
          "      | ^~~~~~~\n");
}

TEST_CASE("config file: a file that cannot be read is an error of its own",
          "[control][config_file]") {
    const ConfigFile file{""};
    ConfigSource source = file.source();
    source.file = file.path() / "missing";
    CHECK_THROWS_AS(load_config(source), ConfigError);
    source.file = file.path().parent_path();
    CHECK_THROWS_AS(load_config(source), ConfigError);
    CHECK_THROWS_WITH(load_config(source), contains("it is a directory"));
}

TEST_CASE("config file: no descriptor is left open", "[control][config_file]") {
    const ConfigFile file{smallest};
    const eplb::test::DescriptorCheck descriptors;
    CHECK_FALSE(load_config(file.source()).diagnostics.has_errors());
    file.write("nonsense");
    CHECK(load_config(file.source()).diagnostics.has_errors());
    CHECK(descriptors.leaked() == 0);
}

TEST_CASE("config file: options win over the file, and are told first", "[control][config_file]") {
    const ConfigFile file{
        "workers = 2\n[log]\nlevel = \"error\"\n[[service]]\n"
        "listen = \":5555\"\nrelay = \"splice\"\n[[service.backend]]\n"
        "address = \"127.0.0.1:3306\"\n"};
    ConfigSource source = file.source();
    source.flags = table_of({{"workers", {}, word("5", "--workers")},
                             {"log", {}, table_of({{"level", {}, word("debug", "--log-level")}})},
                             {"defaults", {}, table_of({{"relay", {}, word("copy", "--relay")}})}});
    const LoadedConfig loaded = load_config(source);
    CHECK(loaded.report(source) == "");
    CHECK(loaded.settings.process.values.workers == 5u);
    CHECK(loaded.settings.log.values.level == eplb::LogLevel::debug);
    CHECK(loaded.settings.services.at(0).values.config.relay == RelayMode::copy);

    file.write("wrokers = 2\n" + smallest);
    source.flags = table_of({{"workers", {}, word("many", "--workers")}});
    CHECK_THAT(
        report_of(file, source),
        starts_with("eplb: --workers: \"many\" is not a whole number from 1 to 256, or auto\n"
                    "eplb.toml:1:1: error: unknown key \"wrokers\""));
}

TEST_CASE("config file: options do without a file", "[control][config_file]") {
    ConfigSource source;
    source.flags = table_of(
        {{"service",
          {},
          array_of({table_of(
              {{"listen", {}, array_of({word(":5555", "--listen")})},
               {"backend",
                {},
                array_of({table_of({{"address", {}, word("127.0.0.1:1", "--backend")}})})}})})}});
    const LoadedConfig loaded = load_config(source);
    CHECK(loaded.report(source) == "");
    CHECK(loaded.text.empty());
    CHECK(loaded.settings.services.size() == 1);

    source.flags.members.push_back({"workers", {}, word("0", "--workers")});
    CHECK(load_config(source).report(source) ==
          "eplb: --workers: \"0\" is not a whole number from 1 to 256, or auto\n");
}

TEST_CASE(
    "config file: a service without a backend that takes connections is warned of, unless the "
    "caller judges",
    "[control][config_file]") {
    const ConfigFile file{smallest + "weight = 0\n"};
    ConfigSource source = file.source();
    CHECK(
        report_of(file, source) ==
        "eplb.toml:1:1: warning: service \":5555\" has no backend with a weight above 0: its clients "
        "are reset\n"
        "    1 | [[service]]\n"
        "      | ^~~~~~~~~~~\n");
    source.may_lack_backends = true;
    CHECK(report_of(file, source) == "");
    file.write("[[service]]\nlisten = \":5555\"\n");
    // That none is written down is a slip all the same.
    CHECK_THAT(report_of(file, source), contains("[[service]] has no backend"));
}

TEST_CASE("config file: variables are replaced only when that was asked for",
          "[control][config_file]") {
    const Variable weight{"EPLB_TEST_WEIGHT", "7"};
    const Variable listen{"EPLB_TEST_LISTEN", ":1,unix:/run/x"};
    const ConfigFile file{
        "workers = \"${EPLB_TEST_NONE:-auto}\"\n[[service]]\n"
        "listen = \"${EPLB_TEST_LISTEN}\"\nidle_timeout = \"${EPLB_TEST_WEIGHT}s\"\n"
        "[[service.backend]]\naddress = \"127.0.0.1:330${EPLB_TEST_WEIGHT}\"\n"
        "weight = \"${EPLB_TEST_WEIGHT}\"\nname = \"$$x\"\n"};
    ConfigSource source = file.source();
    CHECK(load_config(source).diagnostics.has_errors());

    source.expand_env = true;
    const LoadedConfig loaded = load_config(source);
    CHECK(loaded.report(source) == "");
    CHECK_FALSE(loaded.settings.process.values.workers);
    const Service& service = loaded.settings.services.at(0);
    REQUIRE(service.values.listen.size() == 2);
    CHECK(service.values.listen[0].text == ":1");
    CHECK(service.values.listen[1].text == "unix:/run/x");
    CHECK(service.values.config.idle_timeout == 7s);
    const BackendValues& backend = service.backends.at(0).values;
    CHECK(backend.address.text == "127.0.0.1:3307");
    CHECK(backend.weight == 7);
    CHECK(backend.name == "$x");
}

TEST_CASE("config file: what a variable holds is told like what the file says",
          "[control][config_file]") {
    const Variable weight{"EPLB_TEST_WEIGHT", "heavy\x1b[0m"};
    const ConfigFile file{smallest + "weight = \"${EPLB_TEST_WEIGHT}\"\n"};
    ConfigSource source = file.source();
    source.expand_env = true;
    CHECK(report_of(file, source) ==
          "eplb.toml:5:10: error: weight: \"heavy\\u001B[0m\" is not a whole number from 0 to "
          "65535\n"
          "    5 | weight = \"${EPLB_TEST_WEIGHT}\"\n"
          "      |          ^~~~~~~~~~~~~~~~~~~~~\n");
}

TEST_CASE("config file: a variable that is not set is told once", "[control][config_file]") {
    const ConfigFile file{smallest + "weight = \"${EPLB_TEST_NONE}\"\n"};
    ConfigSource source = file.source();
    source.expand_env = true;
    const LoadedConfig loaded = load_config(source);
    CHECK(loaded.diagnostics.errors() == 1);
    CHECK_THAT(report_of(file, source),
               starts_with("eplb.toml:5:10: error: there is no variable EPLB_TEST_NONE in the "
                           "environment; set it, or write ${EPLB_TEST_NONE:-default}\n"));
}

TEST_CASE("config file: what is wrong beside a variable that is not set is told too",
          "[control][config_file]") {
    const ConfigFile file{
        "wrokers = 1\n[[service]]\nlisten = [\":1\", \"${EPLB_TEST_NONE}\"]\n"
        "relay = \"${\"\n[[service.backend]]\naddress = \"127.0.0.1:1\"\n"
        "weight = -1\n"};
    ConfigSource source = file.source();
    source.expand_env = true;
    const std::vector<Diagnostic> all = load_config(source).diagnostics.sorted();
    REQUIRE(all.size() == 4);
    CHECK_THAT(all[0].message, starts_with("unknown key \"wrokers\""));
    CHECK_THAT(all[1].message, starts_with("there is no variable EPLB_TEST_NONE"));
    CHECK_THAT(all[2].message, starts_with("a \"${\" without its \"}\""));
    CHECK_THAT(all[3].message, starts_with("weight: -1 is not a whole number"));
}

TEST_CASE("config file: to load looks no name up", "[control][config_file]") {
    const ConfigFile file{
        "[[service]]\nlisten = \"nosuch.invalid:5555\"\n[[service.backend]]\n"
        "address = \"nosuch-either.invalid:3306\"\n"};
    CHECK(report_of(file, file.source()) == "");
    // Nor does it where that would be noticed: with no descriptor to ask anybody with.
    ConfigSource source;
    source.flags = table_of(
        {{"service",
          {},
          array_of({table_of(
              {{"listen", {}, array_of({word("nosuch.invalid:5555", "--listen")})},
               {"backend",
                {},
                array_of({table_of({{"address", {}, word("localhost:1", "--backend")}})})}})})}});
    eplb::test::DescriptorShortage shortage;
    const LoadedConfig loaded = load_config(source);
    shortage.end();
    CHECK(loaded.report(source) == "");
}

TEST_CASE("config file: settings become the values that a proxy takes", "[control][config_file]") {
    const Config config = resolved(settings_of(
        "workers = 3\nbusy_poll = \"50us\"\nmax_connections = 77\n"
        "[[service]]\nname = \"a\"\nlisten = [\":1\", \"unix:/run/x\"]\n"
        "connect_timeout = \"1s\"\nidle_timeout = \"2s\"\nhalf_close_timeout = \"3s\"\n"
        "drain_timeout = \"4s\"\non_remove = \"keep\"\nrelay = \"copy\"\npipe_size = \"64KiB\"\n"
        "backlog = 5\n"
        "[[service.backend]]\naddress = \"10.0.0.1:1\"\nname = \"x\"\nweight = 6\n"
        "[[service.backend]]\naddress = \"[::1]:2\"\n"
        "[[service]]\nlisten = \"127.0.0.1:2\"\n"
        "[[service.backend]]\naddress = \"unix:@db\"\nweight = 0\n"));
    CHECK(config.workers == 3);
    CHECK(config.busy_poll == 50us);
    CHECK(config.max_connections == 77);
    CHECK_FALSE(config.may_lack_backends);
    REQUIRE(config.services.size() == 2);
    const ServiceConfig& service = config.services[0];
    CHECK(service.name == "a");
    CHECK(service.listen == std::vector{Address::parse(":1"), Address::parse("unix:/run/x")});
    CHECK(service.connect_timeout == 1s);
    CHECK(service.idle_timeout == 2s);
    CHECK(service.half_close_timeout == 3s);
    CHECK(service.drain_timeout == 4s);
    CHECK(service.on_remove == eplb::OnRemove::keep);
    CHECK(service.relay == RelayMode::copy);
    CHECK(service.pipe_bytes == 65536);
    CHECK(service.backlog == 5);
    REQUIRE(service.backends.size() == 2);
    CHECK(service.backends[0].address == Address::parse("10.0.0.1:1"));
    CHECK(service.backends[0].name == "x");
    CHECK(service.backends[0].weight == 6);
    CHECK(service.backends[1].address == Address::parse("[::1]:2"));
    CHECK(service.backends[1].name.empty());
    CHECK(service.backends[1].weight == 1);
    CHECK(config.services[1].name == "127.0.0.1:2");
    REQUIRE(config.services[1].backends.size() == 1);
    CHECK(config.services[1].backends[0].address == Address::parse("unix:@db"));
    CHECK(config.services[1].backends[0].weight == 0);
}

TEST_CASE("config file: workers that are auto become a number", "[control][config_file]") {
    Settings settings;
    settings.process.values.workers.reset();
    CHECK(resolved(settings).workers == std::max(1U, std::thread::hardware_concurrency()));
}

TEST_CASE("config file: the name of a listener becomes its addresses", "[control][config_file]") {
    const Config config = resolved(settings_of(service_with("127.0.0.1:3306", "localhost:5555")));
    const ServiceConfig& service = config.services.at(0);
    CHECK(service.name == "localhost:5555");
    CHECK(service.listen == std::vector{Address::parse("127.0.0.1:5555")});
}

TEST_CASE("config file: a listener's name without an address is told at its place",
          "[control][config_file]") {
    const Settings settings = settings_of(
        "[[service]]\nlisten = [\":1\", \"nosuch.invalid:2\"]\n"
        "[[service.backend]]\naddress = \"nosuch-either.invalid:3306\"\n"
        "[[service.backend]]\naddress = \"127.0.0.1:3306\"\n");
    Diagnostics diagnostics;
    const Config config = resolve(settings, diagnostics);
    const std::vector<Diagnostic> all = diagnostics.sorted();
    REQUIRE(all.size() == 1);
    CHECK_THAT(to_text(all[0], "f", ""),
               starts_with("f:2:17: error: cannot resolve \"nosuch.invalid\" in "
                           "\"nosuch.invalid:2\": "));
    // What is not wrong is there, and backends' names are for others to ask for.
    REQUIRE(config.services.size() == 1);
    CHECK(config.services[0].listen == std::vector{Address::parse(":1")});
    CHECK(config.services[0].backends.size() == 1);
}

namespace {

NameTarget target(std::string_view address, std::uint16_t priority = 0, std::uint16_t weight = 0) {
    return {Address::parse(address), priority, weight, "host"};
}

NameAnswer good(std::vector<NameTarget> targets) {
    NameAnswer answer;
    answer.status = NameAnswer::Status::good;
    answer.targets = std::move(targets);
    return answer;
}

NameAnswer bad(NameAnswer::Status status, std::string problem) {
    NameAnswer answer;
    answer.status = status;
    answer.problem = std::move(problem);
    return answer;
}

std::vector<std::string> backends_of(const Settings& settings, const NameAnswers& answers) {
    Diagnostics diagnostics;
    Config config = resolve(settings, diagnostics);
    set_backends(config, settings, answers, diagnostics);
    CHECK(to_text(diagnostics, "f", "") == "");
    std::vector<std::string> lines;
    for (const eplb::BackendConfig& backend : config.services.at(0).backends) {
        lines.push_back(backend.name + "/" + backend.address.to_string() + " " +
                        std::to_string(backend.weight) + (backend.backup ? " backup" : ""));
    }
    return lines;
}

}  // namespace

TEST_CASE("config file: each address of a backend's name is a backend, and gets the weight",
          "[control][config_file]") {
    const Settings settings = settings_of(
        "[[service]]\nlisten = \":5555\"\n"
        "[[service.backend]]\naddress = \"db.example:3306\"\nweight = 3\n"
        "[[service.backend]]\naddress = \"10.0.0.9:1\"\n"
        "[[service.backend]]\naddress = \"db2.example:3306\"\nname = \"x\"\nweight = 0\n");
    CHECK(backend_addresses(settings) ==
          std::vector{"db.example:3306"s, "10.0.0.9:1"s, "db2.example:3306"s});
    CHECK(backends_of(settings,
                      {{"db.example", good({target("10.0.0.1:3306"), target("10.0.0.2:3306")})},
                       {"db2.example", good({target("[::2]:3306")})}}) ==
          std::vector{"db.example/10.0.0.1:3306 3"s, "db.example/10.0.0.2:3306 3"s,
                      "/10.0.0.9:1 1"s, "x/[::2]:3306 0"s});
}

TEST_CASE("config file: SRV weights and priorities become weights and backups",
          "[control][config_file]") {
    const auto settings = [](const std::string& more) {
        return settings_of(service_with("srv:_db._tcp.example") + more);
    };
    const NameAnswers answers{
        {"srv:_db._tcp.example",
         good({target("10.0.0.1:1", 10, 5), target("10.0.0.2:2", 20, 7),
               target("10.0.0.3:3", 10, 0), target("10.0.0.4:4", 30, 65535)})}};
    CHECK(backends_of(settings(""), answers) ==
          std::vector{"_db._tcp.example/10.0.0.1:1 5"s, "_db._tcp.example/10.0.0.2:2 7 backup"s,
                      "_db._tcp.example/10.0.0.3:3 1"s,
                      "_db._tcp.example/10.0.0.4:4 65535 backup"s});
    // The backend's own weight counts too; 0 keeps new connections away, as ever.
    CHECK(backends_of(settings("weight = 100\nname = \"x\"\n"), answers) ==
          std::vector{"x/10.0.0.1:1 500"s, "x/10.0.0.2:2 107 backup"s, "x/10.0.0.3:3 100"s,
                      "x/10.0.0.4:4 1000000 backup"s});
    CHECK(backends_of(settings("weight = 0\n"), answers).front() ==
          "_db._tcp.example/10.0.0.1:1 0");
}

TEST_CASE(
    "config file: a name that is not there is an error at its place, and one that nobody can "
    "be asked for a warning",
    "[control][config_file]") {
    using Status = NameAnswer::Status;
    const Settings settings = settings_of(
        "[[service]]\nlisten = \":5555\"\n"
        "[[service.backend]]\naddress = \"a.example:1\"\n"
        "[[service.backend]]\naddress = \"b.example:1\"\n"
        "[[service.backend]]\naddress = \"c.example:1\"\n"
        "[[service.backend]]\naddress = \"10.0.0.1:1\"\n");
    Diagnostics diagnostics;
    Config config = resolve(settings, diagnostics);
    set_backends(config, settings,
                 {{"a.example", bad(Status::no_such_name, "there is no such name")},
                  {"b.example", bad(Status::no_data, "it has no address")},
                  {"c.example", bad(Status::unanswered, "no answer within 5s")}},
                 diagnostics);
    CHECK(
        to_text(diagnostics, "f", "") ==
        "f:4:11: error: cannot resolve \"a.example\" in \"a.example:1\": there is no such name\n"
        "f:6:11: error: cannot resolve \"b.example\" in \"b.example:1\": it has no address\n"
        "f:8:11: warning: cannot resolve \"c.example\" in \"c.example:1\": no answer within 5s; it gets its "
        "backends when it answers\n");
    CHECK(config.services.at(0).backends.size() == 1);
}

TEST_CASE("config file: SRV weights that are too large together become less together",
          "[control][config_file]") {
    const Settings settings = settings_of(service_with("srv:db.example") + "weight = 100\n");
    const auto weights = [&](std::vector<NameTarget> targets) {
        return backends_of(settings, {{"srv:db.example", good(std::move(targets))}});
    };
    CHECK(weights({target("10.0.0.1:1", 1, 50000), target("10.0.0.2:1", 1, 10000),
                   target("10.0.0.3:1", 1, 1), target("10.0.0.4:1", 1, 0)}) ==
          std::vector{"db.example/10.0.0.1:1 1000000"s, "db.example/10.0.0.2:1 200000"s,
                      "db.example/10.0.0.3:1 20"s, "db.example/10.0.0.4:1 20"s});
    CHECK(weights({target("10.0.0.1:1", 1, 50000), target("10.0.0.2:1", 2, 20000),
                   target("10.0.0.3:1", 3, 65535), target("10.0.0.4:1", 1, 25000)}) ==
          std::vector{"db.example/10.0.0.1:1 1000000"s, "db.example/10.0.0.2:1 305180 backup"s,
                      "db.example/10.0.0.3:1 1000000 backup"s, "db.example/10.0.0.4:1 500000"s});
    // Nobody is left without any.
    const Settings heavy = settings_of(service_with("srv:db.example") + "weight = 65535\n");
    CHECK(backends_of(heavy, {{"srv:db.example", good({target("10.0.0.1:1", 1, 65535),
                                                       target("10.0.0.2:1", 1, 0)})}}) ==
          std::vector{"db.example/10.0.0.1:1 1000000"s, "db.example/10.0.0.2:1 15"s});
}

TEST_CASE("config file: names that may be missing are a warning", "[control][config_file]") {
    using Status = NameAnswer::Status;
    const Settings settings = settings_of(service_with("a.example:1") +
                                          "[[service.backend]]\naddress = \"B.example:1\"\n");
    Diagnostics diagnostics;
    Config config = resolve(settings, diagnostics);
    set_backends(config, settings,
                 {{"a.example", bad(Status::no_such_name, "there is no such name")},
                  {"b.example", bad(Status::unusable, "0.0.0.0 is the address of no server")}},
                 diagnostics, [](std::string_view key) { return key == "b.example"; });
    CHECK(diagnostics.has_errors());
    CHECK_THAT(to_text(diagnostics, "f", ""),
               contains("error: cannot resolve \"a.example\" in \"a.example:1\": there is no such "
                        "name\n"));
    CHECK_THAT(to_text(diagnostics, "f", ""),
               contains("warning: cannot resolve \"B.example\" in \"B.example:1\": 0.0.0.0 is the "
                        "address of no server; waiting for it\n"));
    CHECK(services_without_backends(config) == std::vector{config.services.at(0).name});
}

TEST_CASE("config file: an absent address is a backend without weight, as on_absent says",
          "[control][config_file]") {
    const auto [word, policy] = GENERATE(std::pair{"keep"s, eplb::OnRemove::keep},
                                         std::pair{"drain"s, eplb::OnRemove::drain},
                                         std::pair{"close"s, eplb::OnRemove::close});
    const Settings settings = settings_of("[dns]\non_absent = \"" + word + "\"\n" +
                                          service_with("db.example:3306") + "weight = 3\n");
    NameAnswer answer = good({target("10.0.0.1:0")});
    answer.absent = {target("10.0.0.2:0")};
    Diagnostics diagnostics;
    Config config = resolve(settings, diagnostics);
    set_backends(config, settings, {{"db.example", answer}}, diagnostics);
    const auto& backends = config.services.at(0).backends;
    REQUIRE(backends.size() == 2);
    CHECK_FALSE(backends[0].absent);
    CHECK(backends[0].weight == 3);
    CHECK(backends[1].address == eplb::Address::parse("10.0.0.2:3306"));
    CHECK(backends[1].name == "db.example");
    CHECK(backends[1].weight == 0);
    CHECK(backends[1].absent == policy);
}
