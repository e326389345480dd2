// The key of this cluster: 32 random bytes in a file that only the server can read.
#pragma once

#include <array>
#include <cstdint>

namespace securatlas::pg {

using SecretKey = std::array<std::uint8_t, 32>;

// The key; read from its file, or made together with it, at the first call of a process that has
// not inherited it. Throws Error 58030.
const SecretKey& secret_key();

}  // namespace securatlas::pg
