#include "eplb/version.hpp"

const char* eplb_version() noexcept { return EPLB_VERSION; }
