#pragma once

#include "eplb/address.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <stdlib.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <system_error>

namespace eplb::test {

/// A folder for files and Unix sockets, which goes with all that is in it.
class Folder {
public:
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "eplb-unit-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder");
        path_ = name;
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    [[nodiscard]] Address socket(const std::string& name) const {
        return Address::parse("unix:" + (path_ / name).string());
    }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::filesystem::path file(const std::string& name) const { return path_ / name; }
    /// A file that holds `text`.
    [[nodiscard]] std::filesystem::path written(const std::string& name,
                                                std::string_view text) const {
        std::ofstream{file(name), std::ios::binary} << text;
        return file(name);
    }
    [[nodiscard]] std::filesystem::path fifo(const std::string& name) const {
        if (::mkfifo(file(name).c_str(), 0600) != 0) throw std::runtime_error("no fifo");
        return file(name);
    }

private:
    std::filesystem::path path_;
};

}  // namespace eplb::test
