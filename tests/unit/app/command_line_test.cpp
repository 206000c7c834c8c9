#include "app/command_line.hpp"

#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using eplb::Address;
using eplb::Config;
using eplb::Duration;
using eplb::LogLevel;
using eplb::RelayMode;
using eplb::ServiceConfig;
using eplb::app::CommandLine;
using eplb::app::parse_command_line;
using eplb::app::UsageError;
using eplb::control::LogFormat;
using eplb::test::contains;

namespace {

using Words = std::vector<std::string>;

// What the command would work by.
struct Meant {
    Config config;
    eplb::control::LogValues log;
};

Meant read(const Words& words) {
    const CommandLine line = parse_command_line(words);
    eplb::control::LoadedConfig loaded = eplb::control::load_config(line.source);
    if (loaded.diagnostics.has_errors()) throw UsageError(loaded.report(line.source));
    eplb::control::Diagnostics lookups;
    Meant meant{eplb::control::resolve(loaded.settings, lookups), loaded.settings.log.values};
    if (lookups.has_errors()) throw std::runtime_error(to_text(lookups, "", ""));
    return meant;
}

// The least that makes sense, and `more`.
Words with(const Words& more) {
    Words words{"-l", ":5555", "-b", "127.0.0.1:3306"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

Meant parse_with(const Words& more) { return read(with(more)); }

std::string message_of(const Words& words) {
    try {
        static_cast<void>(read(words));
    } catch (const UsageError& error) {
        return error.what();
    }
    return "no error";
}

std::string message_with(const Words& more) {
    Words words{"-l", ":5555", "-b", "127.0.0.1:3306"};
    words.insert(words.end(), more.begin(), more.end());
    return message_of(words);
}

}  // namespace

TEST_CASE("command line: listeners and backends are enough, the rest has defaults",
          "[app][command_line]") {
    CHECK_FALSE(parse_command_line(with({})).answer);
    const Meant line = parse_with({});
    REQUIRE(line.config.services.size() == 1);
    const ServiceConfig& service = line.config.services[0];
    CHECK(service.listen == std::vector{Address::parse(":5555")});
    REQUIRE(service.backends.size() == 1);
    CHECK(service.backends[0].address == Address::parse("127.0.0.1:3306"));
    CHECK(service.backends[0].weight == 1);
    // The command's defaults are the library's.
    CHECK(service.connect_timeout == ServiceConfig{}.connect_timeout);
    CHECK(service.idle_timeout == ServiceConfig{}.idle_timeout);
    CHECK(service.half_close_timeout == ServiceConfig{}.half_close_timeout);
    CHECK(service.relay == ServiceConfig{}.relay);
    CHECK(service.backlog == ServiceConfig{}.backlog);
    CHECK(service.drain_timeout == 30s);
    CHECK(line.config.max_connections == Config{}.max_connections);
    CHECK(line.log.level == LogLevel::info);
    CHECK(line.log.format == LogFormat::text);
}

TEST_CASE("command line: listeners and backends may be given many times, and keep their order",
          "[app][command_line]") {
    const Meant line = read({"-b", "127.0.0.1:1", "--listen", "127.0.0.1:5555", "-b",
                             "unix:/run/db.sock", "-l", "unix:@front", "--backend=[::1]:3"});
    const ServiceConfig& service = line.config.services.at(0);
    CHECK(service.listen ==
          std::vector{Address::parse("127.0.0.1:5555"), Address::parse("unix:@front")});
    REQUIRE(service.backends.size() == 3);
    CHECK(service.backends[0].address == Address::parse("127.0.0.1:1"));
    CHECK(service.backends[1].address == Address::parse("unix:/run/db.sock"));
    CHECK(service.backends[2].address == Address::parse("[::1]:3"));
}

TEST_CASE("command line: a backend has a weight and a name", "[app][command_line]") {
    const Meant line = parse_with({"-b", "127.0.0.1:1,weight=7,name=db-1", "-b",
                                   "127.0.0.1:2,name=x", "-b", "127.0.0.1:3,weight=0"});
    const auto& backends = line.config.services.at(0).backends;
    REQUIRE(backends.size() == 4);
    CHECK(backends[1].weight == 7);
    CHECK(backends[1].name == "db-1");
    CHECK(backends[2].weight == 1);
    CHECK(backends[2].name == "x");
    CHECK(backends[3].weight == 0);
}

TEST_CASE("command line: host names of listeners are looked up", "[app][command_line]") {
    const Meant line = read({"-l", "localhost:5555", "-b", "127.0.0.1:1,weight=2"});
    CHECK(line.config.services.at(0).listen == std::vector{Address::parse("127.0.0.1:5555")});
    // A name that does not resolve is no mistake of the command line.
    CHECK_THROWS_AS(parse_with({"-l", "nosuch.invalid:1"}), std::runtime_error);
    CHECK(message_with({"-b", "127.0.0.1:1"}) == "no error");
}

TEST_CASE("command line: backends may have names, to be asked for later", "[app][command_line]") {
    const CommandLine line = parse_command_line(
        {"-l", ":5555", "-b", "db.example:3306,weight=2", "-b", "srv:_db._tcp.example,name=x"});
    const eplb::control::LoadedConfig loaded = eplb::control::load_config(line.source);
    CHECK(loaded.report(line.source).empty());
    CHECK(eplb::control::backend_addresses(loaded.settings) ==
          Words{"db.example:3306", "srv:_db._tcp.example"});
    CHECK(message_with({"-b", "nosuch.invalid:1"}) == "no error");
    CHECK_THAT(message_with({"-b", "srv:_db._tcp.example:1"}),
               contains("is not the name of a service"));
}

TEST_CASE("command line: timeouts, limits and modes are read", "[app][command_line]") {
    const Meant line = parse_with({"--connect-timeout",
                                   "250ms",
                                   "--idle-timeout=2h",
                                   "--half-close-timeout",
                                   "off",
                                   "--drain-timeout",
                                   "1m",
                                   "--max-connections",
                                   "1000",
                                   "--relay",
                                   "splice",
                                   "--log-level",
                                   "debug",
                                   "--log-format",
                                   "json",
                                   "--workers",
                                   "3",
                                   "--pipe-size",
                                   "1MiB",
                                   "--busy-poll",
                                   "50us"});
    const ServiceConfig& service = line.config.services.at(0);
    CHECK(service.connect_timeout == 250ms);
    CHECK(service.idle_timeout == 2h);
    CHECK(service.half_close_timeout == Duration{0});
    CHECK(service.drain_timeout == 1min);
    CHECK(line.config.max_connections == 1000);
    CHECK(service.relay == RelayMode::splice);
    CHECK(line.log.level == LogLevel::debug);
    CHECK(line.log.format == LogFormat::json);
    CHECK(line.config.workers == 3);
    CHECK(service.pipe_bytes == 1024 * 1024);
    CHECK(line.config.busy_poll == 50us);

    CHECK(parse_with({}).config.workers == 1);
    CHECK(parse_with({}).config.busy_poll == Duration{0});
    CHECK(parse_with({"-w", "256"}).config.workers == 256);
    CHECK(parse_with({"-w", "auto"}).config.workers == std::thread::hardware_concurrency());
    CHECK(parse_with({"--relay", "copy"}).config.services.at(0).relay == RelayMode::copy);
    CHECK(parse_with({"--relay", "auto"}).config.services.at(0).relay == RelayMode::automatic);
    CHECK(parse_with({"--log-level", "warning"}).log.level == LogLevel::warning);
    CHECK(parse_with({"--log-level", "error"}).log.level == LogLevel::error);
}

TEST_CASE("command line: quiet is told apart from a level", "[app][command_line]") {
    CHECK(parse_command_line(with({"-q"})).quiet);
    CHECK(parse_command_line(with({"--quiet", "--log-level", "debug"})).quiet);
    CHECK_FALSE(parse_command_line(with({"--log-level", "error"})).quiet);
}

TEST_CASE("command line: a configuration file is read, tested or dumped", "[app][command_line]") {
    const CommandLine serve = parse_command_line({"-c", "eplb.toml"});
    CHECK(serve.action == CommandLine::Action::serve);
    CHECK(serve.source.file == "eplb.toml");
    CHECK_FALSE(serve.source.expand_env);
    CHECK_FALSE(serve.strict);
    CHECK(parse_command_line({"--config=x", "-t"}).action == CommandLine::Action::test);
    CHECK(parse_command_line({"-c", "x", "--dump"}).action == CommandLine::Action::dump);
    CHECK(parse_command_line({"-c", "x", "-t", "-T"}).action == CommandLine::Action::dump);
    CHECK(parse_command_line(with({"-t"})).action == CommandLine::Action::test);
    CHECK(parse_command_line({"-c", "x", "--strict"}).strict);
    CHECK(parse_command_line({"-c", "x", "--expand-env"}).source.expand_env);
}

TEST_CASE("command line: listeners and backends do not mix with a configuration file",
          "[app][command_line]") {
    CHECK_THAT(message_of({"-c", "x", "-l", ":1"}), contains("write it into the file"));
    CHECK_THAT(message_of({"-c", "x", "-b", ":1"}), contains("write it into the file"));
    CHECK_THAT(message_of({"-c", ""}), contains("--config"));
}

TEST_CASE("command line: help and version are answered, whatever else is there",
          "[app][command_line]") {
    for (const Words& words : {Words{"--help"}, Words{"-h"}, Words{"-l", "nonsense", "--help"},
                               Words{"--help", "--no-such-option"}}) {
        const CommandLine line = parse_command_line(words);
        REQUIRE(line.answer);
        CHECK_THAT(*line.answer, contains("--config"));
        CHECK_THAT(*line.answer, contains("--listen"));
        CHECK_THAT(*line.answer, contains("--backend"));
        CHECK_THAT(*line.answer, contains("--drain-timeout"));
        CHECK_THAT(*line.answer, contains("eplb -l"));
        CHECK(line.answer->back() == '\n');
    }
    for (const Words& words : {Words{"--version"}, Words{"-V"}}) {
        const CommandLine line = parse_command_line(words);
        REQUIRE(line.answer);
        CHECK_THAT(*line.answer, eplb::test::starts_with("eplb "));
        CHECK(line.answer->back() == '\n');
    }
}

TEST_CASE("command line: without a listener or a backend, the message shows how",
          "[app][command_line]") {
    CHECK_THAT(message_of({}), contains("-l"));
    CHECK_THAT(message_of({"-b", "127.0.0.1:1"}), contains("-l"));
    CHECK_THAT(message_of({"-l", ":5555"}), contains("-b"));
}

TEST_CASE("command line: a bad value is told with its option and its text", "[app][command_line]") {
    struct Row {
        Words words;
        std::vector<std::string> told;
    };
    const std::vector<Row> table{
        {{"-l", "5555"}, {"--listen", "\"5555\""}},
        {{"-l", ":0"}, {"--listen", "\":0\"", "1 to 65535"}},
        {{"-l", ":65536"}, {"--listen", "65536"}},
        {{"-l", "::1:80"}, {"--listen", "brackets"}},
        {{"-b", "127.0.0.1"}, {"--backend", "127.0.0.1"}},
        {{"-b", "127.0.0.1:0"}, {"--backend", "127.0.0.1:0"}},
        {{"-b", ":3306"}, {"--backend", ":3306", "127.0.0.1:3306"}},
        {{"-b", "0.0.0.0:3306"}, {"--backend", "0.0.0.0:3306"}},
        {{"-b", ""}, {"--backend"}},
        {{"-b", "127.0.0.1:1,wieght=2"}, {"--backend", "wieght", "did you mean \"weight\""}},
        {{"-b", "127.0.0.1:1,weight=-1"}, {"weight", "-1"}},
        {{"-b", "127.0.0.1:1,weight=65536"}, {"weight", "65536", "65535"}},
        {{"-b", "127.0.0.1:1,weight=99999999999999999999"}, {"weight"}},
        {{"-b", "127.0.0.1:1,weight=1.5"}, {"weight", "1.5"}},
        {{"-b", "127.0.0.1:1,weight"}, {"weight"}},
        {{"-b", "127.0.0.1:1,"}, {"--backend"}},
        {{"-b", "127.0.0.1:1,name="}, {"name"}},
        {{"-b", "127.0.0.1:1,name=two words"}, {"name"}},
        {{"-b", "127.0.0.1:1,name=a\nb"}, {"name"}},
        {{"--connect-timeout", "5"}, {"--connect-timeout", "\"5\"", "5s"}},
        {{"--idle-timeout", "-1s"}, {"--idle-timeout", "-1s"}},
        {{"--half-close-timeout", "1e9s"}, {"--half-close-timeout", "1e9s"}},
        {{"--drain-timeout", "soon"}, {"--drain-timeout", "soon"}},
        {{"--max-connections", "0"}, {"--max-connections", "\"0\""}},
        {{"--max-connections", "-300"}, {"--max-connections", "-300"}},
        {{"--max-connections", "1e3"}, {"--max-connections", "1e3"}},
        {{"--max-connections", "18446744073709551616"}, {"--max-connections"}},
        {{"--relay", "spilce"}, {"--relay", "spilce", "did you mean \"splice\""}},
        {{"--relay", "AUTO"}, {"--relay", "AUTO"}},
        {{"--workers", "0"}, {"--workers", "\"0\"", "1 to 256", "auto"}},
        {{"-w", "257"}, {"--workers", "257"}},
        {{"-w", "all"}, {"--workers", "all", "auto"}},
        {{"--pipe-size", "big"}, {"--pipe-size", "big", "64KiB"}},
        {{"--pipe-size", "4KiB"}, {"--pipe-size", "4KiB", "64KiB", "16MiB"}},
        {{"--pipe-size", "17MiB"}, {"--pipe-size", "17MiB", "64KiB", "16MiB"}},
        {{"--busy-poll", "50"}, {"--busy-poll", "50"}},
        {{"--busy-poll", "2s"}, {"--busy-poll", "2s", "1s"}},
        {{"--log-level", "verbose"}, {"--log-level", "verbose", "debug"}},
        {{"--log-format", "xml"}, {"--log-format", "xml", "json"}},
    };
    for (const Row& row : table) {
        INFO(row.words[0] << ' ' << row.words[1]);
        const std::string message = message_with(row.words);
        for (const std::string& part : row.told) CHECK_THAT(message, contains(part));
    }
}

TEST_CASE("command line: what is no option is told, with a suggestion", "[app][command_line]") {
    CHECK_THAT(message_with({"--listn", ":1"}), contains("--listn"));
    CHECK_THAT(message_with({"--idel-timeout", "5s"}), contains("did you mean \"--idle-timeout\""));
    CHECK_THAT(message_with({"127.0.0.1:3307"}), contains("127.0.0.1:3307"));
    CHECK_THAT(message_with({"-b"}), contains("-b"));
    CHECK_THAT(message_with({"--connect-timeout"}), contains("--connect-timeout"));
    CHECK(message_with({"-x"}) != "no error");
    CHECK(message_with({""}) != "no error");
}

TEST_CASE("command line: an option that makes sense only once is not given twice",
          "[app][command_line]") {
    CHECK(message_with({"--idle-timeout", "1s", "--idle-timeout", "2s"}) != "no error");
    CHECK(message_with({"--max-connections", "1", "--max-connections", "2"}) != "no error");
}

TEST_CASE("command line: messages are of one line, without a full stop", "[app][command_line]") {
    for (const Words& words : {Words{}, Words{"-x"}, Words{"-l", "x"}, Words{"-b"}, Words{"y"}}) {
        std::string message = message_of(words);
        INFO(message);
        if (message.ends_with('\n')) message.pop_back();
        CHECK(message.find('\n') == std::string::npos);
        CHECK(message.back() != '.');
        CHECK_FALSE(message.empty());
    }
}
