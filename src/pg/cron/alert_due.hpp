// What is due to be told: the events about one thing that say the same, their alert and their
// incident, as a job worker reads and writes them, with the rights of the extension's owner.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/cron/alert.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::alerts {

// What is going on, as far as the alert has counted and told it.
struct Incident {
    core::Instant since = core::kNever;
    std::int64_t count = 0;
    int told = 0;
    core::Instant told_at = core::kLongAgo;
};

// The oldest events about one thing that say the same, and the alert that tells them; all rows are
// locked.
struct Due {
    std::vector<std::int64_t> events;  // ids
    int attempts = 0;
    std::int64_t alert = 0;
    std::string name;
    std::optional<std::string> channel;
    std::optional<std::string> function;
    std::optional<RoleOid> function_owner;
    std::optional<std::string> url;
    std::string format;
    std::string headers;
    core::Duration remind_after{0};
    bool is_active = true;
    std::string event;
    bool is_wanted = true;  // the alert tells this event, and does not only count it
    std::string host;
    core::AlertNews news;  // `since` and `count` are of these events only
};

// The oldest due events of the role's alerts, or those that begin with the given one; nullopt:
// there are none, or they are locked. Locks them and the alert until the transaction ends.
std::optional<Due> find(RoleOid role, std::optional<std::int64_t> event);

// The incident that the events belong to.
Incident read_incident(const Due& due);

// The events are done: their incident goes on or, if they are its end, is over.
void finish(const Due& due, Incident incident, bool told);

// Counts an attempt and flushes that to disk when the transaction commits. False: none is left.
bool mark_attempt(const Due& due, double random);

// Notes why an attempt failed, unless somebody has locked the alert; after the last one the events
// are deleted.
void note_failure(const Due& due, std::string_view error, bool is_last);

}  // namespace securatlas::pg::alerts
