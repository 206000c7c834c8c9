// base: what libeplb exports.
#pragma once

/// On what the shared library exports; everything else in it is hidden.
#define EPLB_API __attribute__((visibility("default")))
/// On what is inside of such a class, and hidden all the same.
#define EPLB_LOCAL __attribute__((visibility("hidden")))
