// What a transaction of a user's session tells the background processes when it commits. A
// rollback tells nothing. PREPARE TRANSACTION leaves a mark, by which COMMIT PREPARED, in whatever
// session, knows that there is something to tell.
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

// Whether a prepared transaction of this database has something to tell. To be asked before one is
// committed.
bool prepared_have_news();

// A prepared transaction was committed, nobody knows what it did: all of this database's processes
// are to look at everything.
void tell_of_prepared() noexcept;

// A request was taken out of the queue, and may be in the http worker's hands.
void request_cancelled(std::int64_t id);

// The same for any number of them.
void requests_removed();

}  // namespace securatlas::pg::at_commit
