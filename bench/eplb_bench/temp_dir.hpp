#pragma once

#include <filesystem>
#include <string>

namespace eplb::bench {

/// A directory under TMPDIR or /tmp that is removed, with what is in it, by the destructor.
class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

/// The last line of a file that says something, for messages; at most 200 bytes.
[[nodiscard]] std::string tail_of(const std::filesystem::path& file);

/// Throws std::system_error, naming the file.
void write_file(const std::filesystem::path& file, const std::string& text);

}  // namespace eplb::bench
