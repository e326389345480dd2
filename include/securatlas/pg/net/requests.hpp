// The catalog of HTTP requests: net.http_request_queue and net._http_response.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/net/request.hpp"
#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/core/net/url.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::requests {

// ---- for SQL functions (in the caller's transaction, with the owner's rights) -----------------

// What is recorded of a response: all, no body, neither headers nor body, the body encrypted.
enum class StoreResponse { full, headers, status, sealed };
std::optional<StoreResponse> parse_store_response(std::string_view text);
std::string_view store_response_name(StoreResponse store);

// Bytes that a body may have: it is held in memory while it is sent.
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
    std::string idempotency_key;               // empty: one is made
    std::optional<core::Instant> not_before;   // nullopt: now
    std::optional<core::Duration> expires_in;  // from now; nullopt: never
    std::string on_response;                   // CallbackFunction::signature; empty: none
    RoleOid on_response_owner = 0;             // CallbackFunction::owner
    StoreResponse store_response = StoreResponse::full;
    std::vector<std::string> header_secrets;
    std::vector<std::string> form_secrets;
    std::optional<RoleOid> created_by;  // nullopt: the current role
};

// Puts a request of the current role, and of the current run, into the queue, and wakes the http
// worker when the transaction commits. Returns its id. Throws Error 53400 if
// net.max_pending_requests of the role, or what others leave it, wait already.
std::int64_t enqueue(const NewRequest& request);

// ---- for the http worker and the scheduler (inside their transaction, with their rights) ------

// For the process that drives the queue, once: reads it by its indexes whatever the statistics of
// the moment say.
void prepare_process();

// False if somebody keeps one of the tables locked; the transaction cannot write then. Never waits.
bool try_lock();

// After triggers of one of schema net's tables were enabled by hand: see net._arm_triggers().
void triggers_enabled(std::uint32_t table);

// Whether the queue holds anything. True as well if it cannot be looked into now.
bool may_have_requests();

// A row of the queue, as it is to be sent: with its sealed headers opened and its secrets put in.
struct QueuedRequest {
    core::RequestId id{};
    std::string host;
    core::Method method = core::Method::get;
    std::optional<core::Url> url;  // there if there is no problem
    std::vector<core::Header> headers;
    std::string body;
    std::chrono::milliseconds timeout{};
    core::Instant ready_at = core::kLongAgo;
    int attempts = 0;  // that have ended
    int max_attempts = 0;
    core::RetryMode retry = core::RetryMode::never;
    core::Instant expires_at = core::kNever;
    std::string idempotency_key;
    bool own_key = false;  // the key is the caller's
    std::string problem;   // why the row, which somebody may have damaged, cannot be sent; or empty
};

// What is to be read: of each host behind `after_host` (all if that is empty) the oldest requests
// that may be sent at `now`, without the `taken` ones.
struct ReadPlan {
    struct Host {
        std::string host;
        core::Instant since = core::kLongAgo;  // only what became ready then or later
        int room = 0;                          // how many
    };
    core::Instant now;
    std::string after_host;
    std::vector<Host> hosts;
    int room = 1;               // of hosts that are not in `hosts`
    int limit = 1;              // of all together
    std::size_t max_bytes = 0;  // of their bodies, of which one host gets half; one more at most
    std::vector<std::int64_t> taken;
};
struct Ready {
    std::vector<QueuedRequest> requests;  // host after host
    std::set<std::string> partial;        // hosts of which some were left out
    bool is_cut = false;                  // hosts behind the last one were not looked at
};
Ready read_ready(const ReadPlan& plan);

// Those of the ids that are in the queue no more.
std::vector<std::int64_t> not_in_queue(const std::vector<std::int64_t>& ids);

// When the next of the requests that may not be sent at `now` may be; nullopt if there is none.
std::optional<core::Instant> next_ready(core::Instant now);

// How a request ended: with a response, or with an error.
struct Response {
    core::RequestId id{};
    std::optional<int> status_code;
    std::optional<std::string> content_type;
    std::vector<core::Header> headers;
    std::string body;  // any bytes
    bool truncated = false;
    bool timed_out = false;
    std::string error;     // empty: there is a response
    bool expired = false;  // its time was up before it was sent
    int attempts = 0;
    std::optional<core::Duration> duration;  // of the last attempt
};

// Locks these requests, and returns those that somebody else has locked: nothing can be recorded of
// them without waiting for him.
[[nodiscard]] std::vector<std::int64_t> lock_requests(const std::vector<std::int64_t>& ids);

// Takes requests out of the queue and puts their responses in. A request that is not in the queue
// any more leaves nothing. A response of a request with on_response waits for its callback then;
// returns the roles that made those, which the scheduler is to be told after the commit.
[[nodiscard]] std::vector<RoleOid> record_responses(const std::vector<Response>& responses);

// An attempt that is followed by another one.
struct Retry {
    core::RequestId id{};
    int attempts = 0;
    core::Instant ready_at;
    std::string error;
};
void record_retries(const std::vector<Retry>& retries);

// Removes up to `limit` responses that were recorded before this instant, but those whose callback
// waits and those that somebody has locked; returns their number.
std::uint64_t remove_responses(core::Instant before, int limit);
bool has_responses();

}  // namespace securatlas::pg::requests
