// Runs a fuzz target over the files of its corpus, where the compiler has no libFuzzer. Appends
// "<name> <passed> <failed> <skipped>" to the file that EPLB_TEST_COUNTS names, as the other test
// programs do; an input that fails ends the process.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

std::vector<std::uint8_t> read(const fs::path& file) {
    std::ifstream in{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: " << argv[0] << " CORPUS\n";
        return 2;
    }
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator{argv[1]})
        files.push_back(entry.path());
    std::ranges::sort(files);
    for (const fs::path& file : files) {
        std::cout << file.filename().string() << std::endl;  // the last line, if it crashes
        const std::vector<std::uint8_t> input = read(file);
        LLVMFuzzerTestOneInput(input.data(), input.size());
        // What is cut off somewhere is worth a try as well.
        for (std::size_t size = 0; size < std::min<std::size_t>(input.size(), 512); ++size)
            LLVMFuzzerTestOneInput(
                std::vector(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size))
                    .data(),
                size);
    }
    if (const char* const counts = std::getenv("EPLB_TEST_COUNTS"); counts != nullptr && *counts)
        std::ofstream{counts, std::ios::app} << fs::path{argv[0]}.filename().string() << ' '
                                             << files.size() << " 0 0\n";
    return files.empty() ? 1 : 0;
}
