// Prints a document as the tables have it that the program works by: ./dev docs. Manual pages and Markdown
// are made anew between two lines that have "keys:" or "verbs:" in a comment, completions as a whole.

#include "app/verbs.hpp"
#include "app/verbs_reference.hpp"
#include "config/config_reference.hpp"

#include <exception>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

std::string read(const std::string& file) {
    std::ifstream in{file};
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

// `file` with `part` between the lines that say `what`.
std::string made_anew(const std::string& file, const std::string& what, const std::string& part) {
    const std::string text = read(file);
    const std::string comment = file.ends_with(".md") ? "<!-- " : ".\\\" ";
    const std::string ending = file.ends_with(".md") ? " -->\n" : "\n";
    const std::string begin = comment + what + ": written by ./dev docs" + ending;
    const std::string end = comment + what + ": end" + ending;
    const std::size_t first = text.find(begin);
    const std::size_t last = text.find(end);
    if (first == std::string::npos || last == std::string::npos || last < first)
        throw std::runtime_error(file + ": has no place for the " + what);
    return text.substr(0, first + begin.size()) + part + text.substr(last);
}

std::string document(const std::string& file) {
    using namespace eplb;
    if (file.ends_with(".bash")) return app::bash_completion(app::verbs());
    if (file.ends_with(".zsh")) return app::zsh_completion(app::verbs());
    if (file.ends_with(".fish")) return app::fish_completion(app::verbs());
    if (file.ends_with(".1")) return made_anew(file, "verbs", app::mdoc_reference(app::verbs()));
    if (file.ends_with(".5")) return made_anew(file, "keys", control::mdoc_reference());
    return made_anew(file, "keys", control::markdown_reference());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: eplb-reference FILE.md|FILE.1|FILE.5|FILE.bash|FILE.zsh|FILE.fish\n";
        return 2;
    }
    try {
        std::cout << document(argv[1]);
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    return std::cout.flush() ? 0 : 1;
}
