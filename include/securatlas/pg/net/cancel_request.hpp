// Takes a request out of the queue before it has ended.
#pragma once

#include <cstdint>

namespace securatlas::pg::requests {

// In the caller's transaction, with the owner's rights: removes a request that the current role, or
// a role that it is a member of, has made, and records that it was cancelled. The http worker
// learns of it at commit. False if there is no such request in the queue; somebody else's counts as
// none, so that nobody learns which there are.
bool cancel(std::int64_t id);

}  // namespace securatlas::pg::requests
