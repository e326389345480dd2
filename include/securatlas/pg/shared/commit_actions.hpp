// What a transaction of a user's session tells the background processes when it commits. A
// rollback tells nothing. A prepared transaction cannot tell anything at its commit, so that
// PREPARE TRANSACTION is refused once there is something to tell.
#pragma once

#include <cstdint>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::at_commit {

void notify(Notice::Kind kind, std::int64_t id);

// All jobs may have changed.
void notify_everything();

// A scheduler is wanted in the database, if it holds the extension.
void want_scheduler(DatabaseOid database);

// Roles may have been renamed or dropped: this concerns the jobs of all databases.
void roles_changed();

// The extension may have been dropped from this database, or be of another version.
void extension_changed();

// The transaction has made requests. Its commit waits for the disk, whatever synchronous_commit is.
void wake_http_worker();

// A request was taken out of the queue, and may be in the http worker's hands.
void request_cancelled(std::int64_t id);

}  // namespace securatlas::pg::at_commit
