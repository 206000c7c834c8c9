#pragma once

// c-ares: the only file that includes it.
#include <ares.h>
