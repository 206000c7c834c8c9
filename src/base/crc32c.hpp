#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace eplb {

/// The CRC-32C (Castagnoli) of `bytes`, RFC 4960 appendix B; a number, whose order of bytes on the
/// wire is up to the protocol. `seed` is the checksum of what came before: crc32c(b, crc32c(a)) is
/// that of a and b in a row.
/// Costs a table look-up per byte: for headers, not for bulk.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes,
                                   std::uint32_t seed = 0) noexcept;

}  // namespace eplb
