// The catalog of HTTP requests: net.http_request_queue and net._http_response.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/net/outbox.hpp"
#include "securatlas/core/net/request.hpp"
#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::requests {

// ---- for SQL functions (in the caller's transaction, with the owner's rights) -----------------

// What is recorded of a response: everything; everything but the body; neither headers nor body;
// everything, with the body encrypted.
enum class StoreResponse { full, headers, status, sealed };
std::optional<StoreResponse> parse_store_response(std::string_view text);
std::string_view store_response_name(StoreResponse store);

// Maximal length of a request body, which is in memory while it is sent.
inline constexpr std::size_t kMaxBodyBytes = 32 * 1024 * 1024;

// A request whose parts have been checked.
struct NewRequest {
    core::Method method = core::Method::get;
    std::string url;   // core::Url::text()
    std::string host;  // core::Url::origin()
    std::vector<core::Header> headers;
    std::vector<core::Header> sensitive_headers;  // sealed before they are stored
    std::optional<std::string> body;
    std::chrono::milliseconds timeout{5000};
    std::optional<int> max_attempts;  // nullopt: net.max_attempts
    core::RetryMode retry = core::RetryMode::unsent;
    std::string idempotency_key;               // empty: one is generated
    std::optional<core::Instant> not_before;   // nullopt: now
    std::optional<core::Duration> expires_in;  // from now; nullopt: never
    std::string on_response;                   // CallbackFunction::signature; empty: none
    RoleOid on_response_owner = 0;             // CallbackFunction::owner
    StoreResponse store_response = StoreResponse::full;
    std::vector<std::string> header_secrets;
    std::vector<std::string> form_secrets;
    std::optional<RoleOid> created_by;  // nullopt: the current role
};

// Inserts a request into the queue, and wakes the http worker when the transaction commits. Returns
// its id. Throws Error 53400 if the role has net.max_pending_requests waiting already, or as many
// as other roles leave it.
std::int64_t enqueue(const NewRequest& request);

// ---- for the http worker and the scheduler (inside their transaction, with their rights) ------

// For a process that works on the queue: call once. Makes the planner use the indexes, whatever the
// current statistics say.
void prepare_process();

// Locks both tables for writing. False if somebody has locked one of them. Never waits.
bool try_lock();

// To be called after a user has enabled triggers of a table of schema net: see
// net._arm_triggers().
void triggers_enabled(std::uint32_t table);

// Whether the queue has any rows. Also true if it cannot be read now.
bool may_have_requests();

core::ReadRequests read_ready(const core::ReadPlan& plan);

// Those of the ids that are not in the queue any more.
std::vector<std::int64_t> not_in_queue(const std::vector<std::int64_t>& ids);

// When the next request, of any host, that may not be sent at the plan's `now` becomes ready;
// nullopt if there is none.
std::optional<core::Instant> next_ready(const core::ReadPlan& plan);

// Requests that wait for the time of a clock that was ahead of `now` become ready: those that it
// made and that were to be sent at once, and those to be tried again that it made, or that wait
// for longer than the longest pause after so many attempts (after a response: than the longest
// Retry-After that is heeded). Returns how many. It reads the whole queue.
std::uint64_t correct_future(core::Instant now);

// Locks these requests, and returns those that somebody else has locked: to record anything about
// them would mean to wait.
[[nodiscard]] std::vector<std::int64_t> lock_requests(const std::vector<std::int64_t>& ids);

struct Recorded {
    // Of requests with on_response, whose responses wait for the callback: the scheduler must be
    // notified of them after the commit.
    std::vector<RoleOid> roles;
    // Requests that somebody else has locked, or changed just now: nothing was recorded about them.
    std::vector<std::int64_t> locked;
};

// Removes requests from the queue and inserts their responses. Does nothing for a request that is
// not in the queue any more. Throws 23505 if an id has a response already; after that it passes
// over such ids.
[[nodiscard]] Recorded record_responses(const std::vector<core::EndedRequest>& responses);

void record_retries(const std::vector<core::RetriedRequest>& retries);

// Deletes up to `limit` responses that were recorded before this instant, except those whose
// callback waits and those that are locked; returns their number.
std::uint64_t remove_responses(core::Instant before, int limit);
bool has_responses(core::Instant before);

}  // namespace securatlas::pg::requests
