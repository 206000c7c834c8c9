// The keys of [log].
#include "config/make_key.hpp"

namespace eplb::control {
namespace {

KeyTable<LogValues> make_log_keys() {
    using V = LogValues;
    return {
        key<V>(
            "level",
            choice_codec<LogLevel>({{"debug", LogLevel::debug},
                                    {"info", LogLevel::info},
                                    {"warning", LogLevel::warning},
                                    {"error", LogLevel::error}}),
            [](auto& v) -> auto& { return v.level; }, "--log-level",
            "The least severe lines that are written. Sessions are `info`."),
        key<V>(
            "format",
            choice_codec<LogFormat>({{"text", LogFormat::text}, {"json", LogFormat::json}}),
            [](auto& v) -> auto& { return v.format; }, "--log-format",
            "`text` is `name=value` after a time and a level; `json` is an object on every line, "
            "with the same names."),
        key<V>(
            "file", text_codec("a file name, or \"-\" for standard error"),
            [](auto& v) -> auto& { return v.file; }, "",
            "Where lines are appended; `-` is standard error. It is opened anew at every reload "
            "and on SIGUSR1, so logrotate can move it away. Nothing waits for who reads it: of a "
            "FIFO, or of standard error, up to a mebibyte waits in memory; what is beyond that, or "
            "what a full disk does not take, is lost, and the log says how many lines."),
        key<V>(
            "sessions",
            choice_codec<SessionLog>({{"off", SessionLog::off},
                                      {"close", SessionLog::close},
                                      {"open+close", SessionLog::open_and_close}}),
            [](auto& v) -> auto& { return v.sessions; }, "",
            "Which lines a session writes: none, one at its end, or also one when a backend has "
            "answered."),
    };
}

}  // namespace

const KeyTable<LogValues>& log_keys() {
    static const KeyTable<LogValues> table = make_log_keys();
    return table;
}

}  // namespace eplb::control
