// The secret key of this cluster: 32 random bytes in a file that only the server can read.
#pragma once

#include <array>
#include <cstdint>

namespace securatlas::pg {

using SecretKey = std::array<std::uint8_t, 32>;

// Returns the key. If the process has not inherited it, the first call reads the file or creates
// it. Throws Error 58030.
const SecretKey& secret_key();

}  // namespace securatlas::pg
