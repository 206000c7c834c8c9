#include "temp_dir.hpp"

#include <cerrno>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <system_error>

namespace eplb::bench {

TempDir::TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "eplb-bench.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
        throw fmt::system_error(errno, "cannot make a directory like {}", pattern);
    path_ = pattern;
    // nginx gives up root and still has to reach its configuration and its own files here.
    std::filesystem::permissions(path_, std::filesystem::perms{0755});
}

TempDir::~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string tail_of(const std::filesystem::path& file) {
    std::ifstream in{file};
    std::string last;
    for (std::string line; std::getline(in, line);) {
        if (line.find_first_not_of(" \t") != std::string::npos) last = line;
    }
    return last.substr(0, 200);
}

void write_file(const std::filesystem::path& file, const std::string& text) {
    std::ofstream out{file};
    out << text;
    out.close();
    if (!out) throw fmt::system_error(errno, "cannot write {}", file.string());
}

}  // namespace eplb::bench
