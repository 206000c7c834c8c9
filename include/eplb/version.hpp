// base: which eplb this is.
#pragma once

#include "eplb/export.hpp"

/// @file
/// Which version a program was built with, and which one it runs with.

/// The version of these headers. Until 1.0.0, programs have to be built anew for another minor one;
/// the name of the shared library says so, too.
#define EPLB_VERSION_MAJOR 0
/// See above.
#define EPLB_VERSION_MINOR 1
/// Another one asks nothing of programs.
#define EPLB_VERSION_PATCH 0
/// As text, like "0.1.0".
#define EPLB_VERSION "0.1.0"

/// EPLB_VERSION of the library that the program runs with. In C's way, so that a configure script
/// can look for it.
extern "C" EPLB_API const char* eplb_version() noexcept;
