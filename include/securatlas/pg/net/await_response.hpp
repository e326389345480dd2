// A session that waits for the end of a request.
#pragma once

#include <cstdint>

namespace securatlas::pg::requests {

// Returns true as soon as the response is recorded and visible to the caller; false if there is no
// such request (any more). Throws Error 55000 if this transaction has made the request, which is
// sent only after the commit, or if its snapshot cannot see the response.
bool await_response(std::int64_t id);

}  // namespace securatlas::pg::requests
