// Cancels a request before it has ended.
#pragma once

#include <cstdint>

namespace securatlas::pg::requests {

// In the caller's transaction, with the owner's rights: removes from the queue a request that the
// current role, or a role that it is a member of, has made, and records it as cancelled. The http
// worker is notified at commit. False if there is no such request in the queue; the answer is the
// same for requests of other roles, so as not to reveal which exist.
bool cancel(std::int64_t id);

}  // namespace securatlas::pg::requests
