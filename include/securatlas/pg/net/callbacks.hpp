// Callbacks: the function on_response of a request, called with its response. The catalog of
// waiting callbacks, and the call itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::callbacks {

// A callback is failed after this many calls, including those that ended their process.
inline constexpr int kMaxAttempts = 5;

// ---- for the scheduler (inside its transaction) ------------------------------------------------

// The roles that have waiting callbacks. Costs one index lookup for each role, however many
// callbacks wait.
std::vector<RoleOid> waiting_roles();

// When the first waiting callback of a role is due; nullopt: none waits.
std::optional<core::Instant> next_due(RoleOid role);

// Callbacks of this role that wait for longer than the longest pause between attempts were put off
// by a clock that was ahead: they become due. Skips locked rows.
void correct_future(RoleOid role);

// Where callbacks of this role run. Throws Error if no process can connect to this database as this
// role.
Target resolve_role(RoleOid role);

// Marks up to `limit` waiting callbacks of a role as failed; returns their number. Skips locked
// rows.
std::uint64_t fail_all(RoleOid role, std::string_view error, int limit);

// Counts a failed attempt of a callback whose call ended its process. `random` is in [0, 1).
void count_death(std::int64_t response, std::string_view error, double random);

// ---- for a job worker --------------------------------------------------------------------------

struct Step {
    bool called = false;  // one was called or marked as failed
    // If none was called: when to look again; nullopt: none waits.
    std::optional<core::Instant> next = {};
};

// Where call_next() goes on: behind the callback that it has found last. As it is made, at the
// oldest one.
struct Place {
    std::int64_t at = INT64_MIN;  // when it was due, as PostgreSQL stores it
    std::int64_t id = INT64_MIN;
    bool operator==(const Place&) const = default;
};

// Calls the oldest due callback of the session's role behind `place`, or, if there is none, the
// oldest of all, as that role, and marks it as done in the same transaction. A call that fails
// changes nothing but the state of the callback. With `careful` the attempt is recorded before the
// call and both are flushed to disk, so that a call that crashes the server is counted; callbacks
// that have failed before are always called that way. Throws Error if the tables cannot be used.
Step call_next(RoleOid role, bool careful, double random, Place& place);

// ---- for SQL functions -------------------------------------------------------------------------

// Makes a failed callback wait again. False: there is no failed callback of this id, or the current
// role is not a member of the role that made the request.
bool repeat(std::int64_t response);

}  // namespace securatlas::pg::callbacks
