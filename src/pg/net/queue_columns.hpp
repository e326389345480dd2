// The columns of net.http_request_queue, in the order of the install script.
#pragma once

#include <cstddef>

namespace securatlas::pg::requests::queue {

enum Column : std::size_t {
    kId,
    kMethod,
    kUrl,
    kHeaders,
    kBody,
    kTimeout,
    kSealedHeaders,
    kCreated,
    kCreatedBy,
    kRunId,
    kAttempts,
    kMaxAttempts,
    kRetry,
    kReadyAt,
    kExpiresAt,
    kIdempotencyKey,
    kOnResponse,
    kStoreResponse,
    kLastError,
    kHost,
    kOwnKey,
    kHeaderSecrets,
    kFormSecrets,
    kOnResponseOwner,
    kColumnCount
};

}  // namespace securatlas::pg::requests::queue
