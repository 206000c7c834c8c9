// Compiled once for each room that has more than a few files: most of a compiler's time goes into what these bring. Each
// file still includes what it uses: `./dev lint` builds without it.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>
