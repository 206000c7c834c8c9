#include "base/describe.hpp"

#include <filesystem>
#include <new>

namespace eplb {

std::string describe(const std::exception& error) {
    if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return "not enough memory";
    if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
        return file->path1().string() + ": " + file->code().message();
    return error.what();
}

}  // namespace eplb
