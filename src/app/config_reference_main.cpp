// Prints a document with its part about the keys of the configuration file made anew from the tables
// that read them: ./dev docs. That part is between two lines that have "keys:" in a comment.

#include "config/config_reference.hpp"

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

namespace {

std::string read(const char* file) {
    std::ifstream in{file};
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: eplb-config-reference FILE.md|FILE.5\n";
        return 2;
    }
    const std::string text = read(argv[1]);
    const bool markdown = std::string_view{argv[1]}.ends_with(".md");
    const std::string begin =
        markdown ? "<!-- keys: written by ./dev docs -->\n" : ".\\\" keys: written by ./dev docs\n";
    const std::string end = markdown ? "<!-- keys: end -->\n" : ".\\\" keys: end\n";
    const std::size_t first = text.find(begin);
    const std::size_t last = text.find(end);
    if (first == std::string::npos || last == std::string::npos || last < first) {
        std::cerr << argv[1] << ": has no place for the keys\n";
        return 1;
    }
    std::cout << text.substr(0, first + begin.size())
              << (markdown ? eplb::control::markdown_reference() : eplb::control::mdoc_reference())
              << text.substr(last);
    return std::cout.flush() ? 0 : 1;
}
