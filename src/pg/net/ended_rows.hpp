// Takes the rows of requests that have ended out of the queue.
#pragma once

#include <cstdint>
#include <vector>

#include "border/keyed_row.hpp"
#include "securatlas/core/net/outbox.hpp"

namespace securatlas::pg::requests {

// The place of a row, of type tid, as core::QueuedRequest and core::EndedRequest have it.
std::int64_t place_number(Datum tid);

// What a request passes on to its response. The values are valid until the end of the transaction.
struct EndedRow {
    enum class State {
        gone,    // it is not in the queue any more
        locked,  // by somebody else, or changed just now: it is still in the queue
        taken,
    };
    State state;
    Value method;
    Value url;
    Value runid;
    Value created_by;
    Value idempotency_key;
    Value on_response;
    Value store_response;
    Value on_response_owner;
    Value host;
    Value created;
};

// Deletes the rows of these requests, one for each; does not wait for those that are locked.
std::vector<EndedRow> take_rows(const std::vector<core::EndedRequest>& ended);

}  // namespace securatlas::pg::requests
