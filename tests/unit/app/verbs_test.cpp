#include "app/verbs.hpp"

#include "app/command_line.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <string>
#include <vector>

using eplb::app::Flag;
using eplb::app::take_verb;
using eplb::app::UsageError;
using eplb::app::Verb;
using eplb::app::verbs;
using eplb::test::contains;

namespace {

using Words = std::vector<std::string>;

std::string message_of(Words words) {
    try {
        static_cast<void>(take_verb(words));
    } catch (const UsageError& error) {
        return error.what();
    }
    return "no error";
}

const Flag& flag_of(const std::vector<Flag>& flags, const std::string& name) {
    const auto flag = std::ranges::find(flags, name, &Flag::long_name);
    REQUIRE(flag != flags.end());
    return *flag;
}

}  // namespace

TEST_CASE("verbs: the first word is taken if it is a verb, and no later one", "[app][verbs]") {
    Words words{"reload", "-c", "reload"};
    CHECK(take_verb(words).name == "reload");
    CHECK(words == Words{"-c", "reload"});
    CHECK(take_verb(words).name.empty());
    CHECK(words == Words{"-c", "reload"});
    words.clear();
    CHECK(take_verb(words).name.empty());
}

TEST_CASE("verbs: a word that is none is told, with the nearest one", "[app][verbs]") {
    CHECK(message_of({"relaod", "-c", "x"}) == "unknown verb \"relaod\"; did you mean \"reload\"?");
    CHECK(message_of({"Reload"}) == "unknown verb \"Reload\"; did you mean \"reload\"?");
    CHECK(message_of({"telepathy"}) == "unknown verb \"telepathy\"");
}

TEST_CASE("verbs: options, addresses and the empty word are left to those who serve",
          "[app][verbs]") {
    for (const char* word : {"", "-c", "--relaod", "127.0.0.1:1", ":5555", "db:1", "unix:/x", "/x"})
        CHECK(message_of({word}) == "no error");
}

TEST_CASE("verbs: each has what the help, the manual and shells say of it", "[app][verbs]") {
    REQUIRE(verbs().front().name.empty());
    for (const Verb& verb : verbs()) {
        INFO(verb.name);
        CHECK(verb.run != nullptr);
        CHECK_FALSE(verb.summary.empty());
        CHECK_FALSE(verb.summary.ends_with('.'));
        CHECK((verb.name.empty() || verb.details.ends_with('.')));
        for (const Flag& flag : verb.flags()) {
            INFO(flag.long_name);
            CHECK(flag.long_name.starts_with("--"));
            CHECK_FALSE(flag.help.empty());
            CHECK(flag.help.find('\n') == std::string::npos);
            CHECK_FALSE(flag.help.ends_with('.'));
        }
    }
}

TEST_CASE("verbs: flags have their names, values and words", "[app][verbs]") {
    const std::vector<Flag> flags = verbs().front().flags();
    const Flag& listen = flag_of(flags, "--listen");
    CHECK(listen.short_name == "-l");
    CHECK(listen.value == "ADDR");
    CHECK(listen.repeatable);
    const Flag& relay = flag_of(flags, "--relay");
    CHECK(relay.short_name.empty());
    CHECK(relay.value == "MODE");
    CHECK(relay.words == Words{"auto", "splice", "copy"});
    CHECK_FALSE(relay.repeatable);
    CHECK(flag_of(flags, "--log-level").words == Words{"debug", "info", "warning", "error"});
    const Flag& quiet = flag_of(flags, "--quiet");
    CHECK(quiet.value.empty());
    CHECK_FALSE(quiet.repeatable);
}

TEST_CASE("verbs: the help lists them", "[app][verbs]") {
    const auto line = eplb::app::parse_command_line({"--help"});
    REQUIRE(line.answer);
    for (const Verb& verb : verbs().subspan(1)) {
        CHECK_THAT(*line.answer, contains("\n  " + std::string{verb.name} + " "));
        CHECK_THAT(*line.answer, contains(std::string{verb.summary}));
    }
}
