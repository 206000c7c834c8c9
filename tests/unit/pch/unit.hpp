// Compiled once for all unit tests, where compilers spend most of their time. Each test still includes what it uses:
// `./dev lint` builds without it.

#include "support/catch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>
