// What happens to a callback whose call has failed.
#pragma once

#include <cstdint>
#include <string_view>

namespace securatlas::pg::callbacks {

// Records the number of failed calls and the error; the callback then waits for its next attempt,
// or has failed. Call it within an Spi, with the right to write the table.
void record_failed_attempt(std::int64_t response, int attempts, bool again, std::string_view error,
                           double random);

}  // namespace securatlas::pg::callbacks
