// Signs requests by Standard Webhooks.
#pragma once

#include <string>

#include "securatlas/core/net/outbox.hpp"

namespace securatlas::pg {

// Replaces the value of header webhook-signature by a signature with this secret, as of now, and
// adds webhook-id, the same in each attempt, and webhook-timestamp. To be called when headers and
// body are complete. Sets `problem` if the secret holds no key.
void sign_request(core::QueuedRequest& request, const std::string& secret);

}  // namespace securatlas::pg
