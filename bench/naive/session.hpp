#pragma once

#include "eplb/fd.hpp"

#include <memory>

namespace naive {

enum class Mode { copy, splice };

/// The two connections of a client; closed when the last thread lets go of them.
struct Session {
    eplb::Fd client;
    eplb::Fd server;

    /// Wakes both directions up for good.
    void break_off() const noexcept;
};

/// Moves bytes from `source` to `destination` with blocking calls until the source ends, and passes
/// the end on. An error breaks the session off.
void move_all(const Session& session, const eplb::Fd& source, const eplb::Fd& destination,
              Mode mode);

/// Says on standard error what this design ran out of, at most once a second for each `what`.
void complain(const char* what, int error) noexcept;

}  // namespace naive
