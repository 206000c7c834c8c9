#include "app/command_line.hpp"
#include "app/early_signals.hpp"
#include "app/exit_codes.hpp"
#include "app/log_target.hpp"
#include "app/verbs.hpp"
#include "base/describe.hpp"
#include "config/config_text.hpp"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

int main(int argc, char** argv) {
    using namespace eplb::app;
    hold_signals();
    try {
        std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
        const Verb& verb = take_verb(arguments);
        if (!verb.name.empty()) release_signals();  // it answers and leaves
        return verb.run(std::move(arguments));
    } catch (const UsageError& error) {
        complain(error.what());
        complain("try: eplb --help");
        return exit_usage;
    } catch (const eplb::control::ConfigError& error) {
        complain(error.what());
        return exit_usage;
    } catch (const std::invalid_argument& error) {
        complain(error.what());
        return exit_usage;
    } catch (const std::exception& error) {
        complain(eplb::describe(error));
        return exit_failure;
    }
}
