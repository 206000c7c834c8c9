// protocol: the versions of PROXY headers.
#pragma once

#include <cstdint>

namespace eplb {

/// Which PROXY protocol header a client's connection has to begin with. The protocol forbids to
/// guess whether there is one: whoever may connect could say who it is.
enum class AcceptProxy : std::uint8_t {
    off,  ///< none: what looks like one is payload
    v1,   ///< a line of text
    v2,   ///< binary
    any,  ///< v1 or v2, which their first byte tells apart
};

/// Which PROXY protocol header a backend gets before the first byte of the client.
enum class SendProxy : std::uint8_t { off, v1, v2 };

}  // namespace eplb
