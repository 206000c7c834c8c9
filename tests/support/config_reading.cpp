#include "support/config_reading.hpp"

#include "config/toml_document.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <fmt/format.h>

namespace eplb::test {

using namespace eplb::control;

std::string told(const Diagnostics& diagnostics) {
    std::string lines;
    for (const Diagnostic& diagnostic : diagnostics.sorted()) {
        const Place& place = diagnostic.place;
        if (!lines.empty()) lines += '\n';
        lines += place.flag.empty() ? fmt::format("{}:{}", place.line, place.column) : place.flag;
        lines += diagnostic.severity == Severity::error ? ": error: " : ": warning: ";
        lines += diagnostic.message;
    }
    return lines;
}

Reading read_config(std::string_view text, const Node* flags) {
    Diagnostics diagnostics;
    const Node root = parse_toml(text, diagnostics);
    Reading reading;
    if (!diagnostics.has_errors()) reading.settings = read_settings(&root, flags, diagnostics);
    reading.told = told(diagnostics);
    return reading;
}

std::string file_with(In where, std::string_view lines) {
    switch (where) {
    case In::file: return std::string{lines};
    case In::process: return fmt::format("{}\n{}", lines, smallest);
    case In::log: return fmt::format("[log]\n{}\n{}", lines, smallest);
    case In::dns: return fmt::format("[dns]\n{}\n{}", lines, smallest);
    case In::defaults: return fmt::format("[defaults]\n{}\n{}", lines, smallest);
    case In::service: return fmt::format("{}{}\n{}", service_head, lines, first_backend);
    case In::listen: return fmt::format("[[service]]\n{}\n{}", lines, first_backend);
    case In::check:
        return fmt::format("{}[service.check]\n{}\n{}", service_head, lines, first_backend);
    case In::backend: return fmt::format("{}{}\n", smallest, lines);
    case In::second_backend:
        return fmt::format("{}[[service.backend]]\naddress = \"127.0.0.1:3307\"\n{}\n", smallest,
                           lines);
    case In::second_address: return fmt::format("{}[[service.backend]]\n{}\n", smallest, lines);
    }
    return {};
}

void check_rows(std::span<const Told> rows) {
    for (const Told& row : rows) {
        const std::string file = file_with(row.where, row.lines);
        INFO(file);
        CHECK(read_config(file).told == row.told);
    }
}

std::string with_key(std::string_view text, std::string_view key) {
    std::string result{text};
    for (std::size_t at = result.find("KEY"); at != std::string::npos; at = result.find("KEY", at))
        result.replace(at, 3, key);
    return result;
}

std::string key_of(std::string_view line) { return std::string{line.substr(0, line.find(" = "))}; }

}  // namespace eplb::test
