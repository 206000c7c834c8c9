#pragma once

// What the files reloader*.cpp share; for nobody else.

#include "control/name_judge.hpp"
#include "control/reloader.hpp"
#include "discovery/system_names.hpp"

#include <chrono>
#include <exception>
#include <fmt/format.h>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace eplb::control {

// Short enough for a string to need none.
inline constexpr const char* out_of_memory = "out of memory\n";
// What there was no memory for is tried again.
constexpr Duration patience = std::chrono::seconds{1};

/// What is to be said of it, with or without memory.
[[nodiscard]] std::string text_of(const std::exception& error) noexcept;

/// Those that are to be asked for.
[[nodiscard]] std::vector<std::string> names_of(const Settings& settings);

/// Services that have a backend now and had none before, or the other way round.
[[nodiscard]] std::vector<std::pair<LogLevel, std::string>> readiness_of(const Config& before,
                                                                         const Config& now);

// What is to be gone over to, as far as it is known. Only one thread at a time has it.
struct Reloader::Loaded {
    Request request;
    ConfigSource source;
    LoadedConfig file;
    std::shared_ptr<ResolvedSettings> wanted = std::make_shared<ResolvedSettings>();
    std::vector<std::string> names;  // of its backends
    SystemNames system;              // of this moment
    std::unique_ptr<NameJudge> judge;
    NameAnswers answers;
    std::vector<std::pair<LogLevel, std::string>> readiness;  // of services, where it changes
    std::string report;                                       // what the diagnostics say
    bool usable = false;
    Outcome outcome;
    ReloadPlan plan;
    std::optional<PreparedConfig> prepared;
    NewLog log;
    Diagnostics kernel;                             // what it refuses, or what is not there now
    std::shared_ptr<const OwnListeners> listeners;  // that it would have

    [[nodiscard]] std::string kernel_report() const {
        return to_text(kernel, source.file ? source.file->string() : "eplb", file.text);
    }
};

// What has happened has happened, with or without the memory for a line.
template <class... Arguments>
void Reloader::tell(LogLevel level, fmt::format_string<const Arguments&...> what,
                    const Arguments&... arguments) const noexcept {
    try {
        observer_.on_event(level, fmt::format(what, arguments...));
    } catch (const std::bad_alloc&) {}
}

// A step of a request. What cannot be done, for lack of memory above all, is not gone over to, and the
// next one has its turn.
template <class Step>
void Reloader::attempt(Step step) noexcept {
    try {
        step();
    } catch (const std::exception& error) {
        finish({Outcome::Kind::failed, text_of(error)});
    }
}

}  // namespace eplb::control
