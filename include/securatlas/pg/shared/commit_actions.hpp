// Notifications that a transaction of a user's session sends to the background processes when it
// commits; a rollback sends none, and only unblocks databases. PREPARE TRANSACTION leaves a mark,
// by which COMMIT PREPARED in any session knows that there is something to notify of.
#pragma once

#include <cstdint>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::at_commit {

void notify(Notice::Kind kind, std::int64_t id);

// All jobs may have changed.
void notify_everything();

// A scheduler should run in the database, if it has the extension.
void want_scheduler(DatabaseOid database);

// The transaction will call DatabaseTable::block() for the database, which is unblocked when the
// transaction ends: until then the server's catalogs show processes what was before.
void database_blocked(DatabaseOid database, bool is_dropped);

// Roles may have been renamed or dropped; this concerns the jobs of all databases.
void roles_changed();

// The extension may have been dropped from this database, or updated.
void extension_changed();

// The transaction has made requests. Its commit is flushed to disk, whatever synchronous_commit is.
void wake_http_worker();

// The transaction has made a request, in this run of a job of this owner's; 0: in none. It is
// counted if that is committed.
void request_made(DatabaseOid owner, std::int64_t job, std::int64_t run);

// What the marks say that prepared transactions of this database have left: that some have made or
// cancelled requests, and no more, or that some have done anything else.
enum class Prepared { nothing, requests, anything };

// To be called before one is committed.
Prepared prepared_notices();

// One was committed. What exactly it did is not known, so that the http worker looks at all
// requests, and, unless it was about requests only, all processes of this database look at
// everything.
void notify_after_prepared(Prepared notices) noexcept;

// A request was removed from the queue, and the http worker may be working on it.
void request_cancelled(std::int64_t id);

// The same for any number of them.
void requests_removed();

}  // namespace securatlas::pg::at_commit
