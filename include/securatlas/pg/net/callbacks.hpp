// Callbacks: on_response of a request, called with its response. The catalog of those that wait,
// and the call itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::callbacks {

// Calls of one callback, those that ended their process included, before it is failed.
inline constexpr int kMaxAttempts = 5;

// ---- for the scheduler (inside its transaction) ------------------------------------------------

struct Waiting {
    RoleOid role = 0;
    core::Instant due;
};

// Each role that has callbacks to be executed, and when the first of them is due. One index look-up
// for each role, however many wait.
std::vector<Waiting> waiting_roles();

// When the first callback of a role is due; nullopt: none waits.
std::optional<core::Instant> next_due(RoleOid role);

// Throws Error if no process may execute callbacks as this role in this database.
Target resolve_role(RoleOid role);

// Ends up to `limit` callbacks of a role as failed; returns their number. Rows that somebody has
// locked are passed over.
std::uint64_t fail_all(RoleOid role, std::string_view error, int limit);

// The call ended its process: an attempt that failed. `random` is in [0, 1).
void count_death(std::int64_t response, std::string_view error, double random);

// ---- for a job worker --------------------------------------------------------------------------

struct Step {
    bool called = false;                     // one was called, or given up
    std::optional<core::Instant> next = {};  // if not: when to look again; nullopt: none waits
};

// Calls the oldest due callback of the session's role, as that role, in one transaction with the
// change that says that it is done. A call that fails changes nothing but the callback's state.
// `careful`: the attempt is recorded before, and both are on disk afterwards, so that a call that
// ends the server counts; this is always done for one that has failed before. Throws Error if the
// tables cannot be used.
Step call_next(RoleOid role, bool careful, double random);

// ---- for SQL functions -------------------------------------------------------------------------

// A failed callback waits again. False: there is none that has failed, or the current role is no
// member of the role that made the request.
bool repeat(std::int64_t response);

}  // namespace securatlas::pg::callbacks
