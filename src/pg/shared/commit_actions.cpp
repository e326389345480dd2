#include "securatlas/pg/shared/commit_actions.hpp"

#include <utility>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/http_table.hpp"
#include "securatlas/pg/shared/progress.hpp"
#include "securatlas/pg/shared/statistics.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/resowner.h"
}

namespace securatlas::pg::at_commit {
namespace {

constexpr std::size_t kCapacity = 256;

// Requests made by one subtransaction after another.
struct Made {
    SubTransactionId in;
    std::int64_t count;
};

// The notifications of the current transaction. Of fixed size, because a commit callback must not
// fail.
struct Pending {
    bool registered = false;
    bool any = false;
    bool committed = false;
    std::size_t count = 0;
    Notice notices[kCapacity] = {};
    bool everything = false;
    bool extension = false;
    bool roles = false;
    bool http = false;
    std::size_t cancelled_count = 0;
    std::int64_t cancelled[kCapacity] = {};
    SubTransactionId cancelled_in[kCapacity] = {};
    bool cancelled_overflowed = false;
    std::int64_t cancelled_beyond = 0;  // of which there are no ids
    std::size_t made_count = 0;
    Made made[kCapacity] = {};
    DatabaseOid made_for = 0;  // owner of the job that made them
    std::int64_t made_by = 0;
    std::int64_t made_in = 0;      // run
    std::int64_t made_at_all = 0;  // in subtransactions that were rolled back, too
    DatabaseOid scheduler = 0;
    bool blocks = false;  // databases
    DatabaseOid dropped = 0;
};
constinit Pending pending;

void forget() {
    pending.any = false;
    pending.committed = false;
    pending.count = 0;
    pending.everything = false;
    pending.extension = false;
    pending.roles = false;
    pending.http = false;
    pending.cancelled_count = 0;
    pending.cancelled_overflowed = false;
    pending.cancelled_beyond = 0;
    pending.made_count = 0;
    pending.made_for = 0;
    pending.made_by = 0;
    pending.made_in = 0;
    pending.made_at_all = 0;
    pending.scheduler = 0;
    pending.dropped = 0;
}

void unblock() noexcept {
    if (std::exchange(pending.blocks, false)) DatabaseTable::unblock_all();
}

std::int64_t count_of_made() noexcept {
    std::int64_t made = 0;
    for (std::size_t i = 0; i < pending.made_count; ++i) made += pending.made[i].count;
    return made;
}

void count_requests() noexcept {
    const auto cancelled =
        static_cast<std::int64_t>(pending.cancelled_count) + pending.cancelled_beyond;
    if (cancelled > 0) Statistics::count(MyDatabaseId, DatabaseValue::cancelled, cancelled);
    const std::int64_t made = count_of_made();
    if (made == 0) return;
    Statistics::count(MyDatabaseId, DatabaseValue::made, made);
    if (pending.made_for == 0) return;
    Statistics::count_requests(pending.made_for, pending.made_by, made);
}

void notify_processes() noexcept {
    if (pending.dropped != 0) DatabaseTable::forget(pending.dropped);
    unblock();
    if (pending.scheduler != 0) DatabaseTable::want_scheduler(pending.scheduler);
    if (pending.roles) DatabaseTable::notify_everywhere();
    if (pending.extension) DatabaseTable::notify_extension_changed(MyDatabaseId);
    if (pending.count > 0 || pending.everything) {
        DatabaseTable::notify(MyDatabaseId, pending.notices, pending.count, pending.everything);
    }
    if (pending.made_in != 0) {
        progress::requests_made(MyDatabaseId, pending.made_in, count_of_made());
    }
    if (pending.http) DatabaseTable::wake_http_worker(MyDatabaseId);
    if (pending.cancelled_count > 0 || pending.cancelled_overflowed) {
        HttpTable::notify_cancelled(MyDatabaseId, pending.cancelled, pending.cancelled_count,
                                    pending.cancelled_overflowed);
    }
    count_requests();
}

// The session that commits a prepared transaction does not know what that has done. But the locks
// of a prepared transaction persist until it ends, even over a crash: a lock on an otherwise unused
// tag marks that there is something to notify of. Requests have a tag of their own, because a
// scheduler that looks at everything reads all jobs.
LOCKTAG mark_of_prepared(Prepared notices) {
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, InvalidOid,
                       static_cast<std::uint16_t>(notices));
    return tag;
}

bool is_marked(Prepared notices) {
    const LOCKTAG tag = mark_of_prepared(notices);
    if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL) return true;
    (void)LockRelease(&tag, ShareLock, false);
    return false;
}

Prepared pending_notices() {
    const bool others = pending.count > 0 || pending.everything || pending.extension ||
                        pending.roles || pending.scheduler != 0;
    return others ? Prepared::anything : Prepared::requests;
}

extern "C" void securatlas_at_transaction_end(XactEvent event, void*) {
    if (!pending.any) return;
    switch (event) {
        case XACT_EVENT_COMMIT:
            pending.committed = true;
            break;
        case XACT_EVENT_ABORT:
        case XACT_EVENT_PREPARE:
            unblock();
            forget();
            break;
        case XACT_EVENT_PRE_PREPARE: {
            const LOCKTAG tag = mark_of_prepared(pending_notices());
            (void)LockAcquire(&tag, RowExclusiveLock, false, false);
            break;
        }
        case XACT_EVENT_PARALLEL_COMMIT:
        case XACT_EVENT_PARALLEL_ABORT:
        case XACT_EVENT_PRE_COMMIT:
        case XACT_EVENT_PARALLEL_PRE_COMMIT:
            break;
    }
}

// A process that is notified must see all that was committed. At XACT_EVENT_COMMIT the locks are
// still held, and the invalidations of other processes' catalog caches have not been sent yet.
extern "C" void securatlas_after_locks(ResourceReleasePhase phase, bool, bool, void*) {
    if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !pending.committed) return;
    notify_processes();
    forget();
}

// Other notices only make a process look at a row, which is harmless. But the http worker drops a
// cancelled request, so that cancellations undone by a rollback to a savepoint must be removed.
extern "C" void securatlas_at_subtransaction_end(SubXactEvent event, SubTransactionId aborted,
                                                 SubTransactionId, void*) {
    if (event != SUBXACT_EVENT_ABORT_SUB) return;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < pending.cancelled_count; ++i) {
        if (pending.cancelled_in[i] >= aborted)
            continue;  // made in the aborted subtransaction or in one below it
        pending.cancelled[kept] = pending.cancelled[i];
        pending.cancelled_in[kept++] = pending.cancelled_in[i];
    }
    pending.cancelled_count = kept;
    while (pending.made_count > 0 && pending.made[pending.made_count - 1].in >= aborted) {
        --pending.made_count;
    }
}

Pending& pend() {
    if (!pending.registered) {
        call([] {
            RegisterXactCallback(securatlas_at_transaction_end, nullptr);
            RegisterResourceReleaseCallback(securatlas_after_locks, nullptr);
            RegisterSubXactCallback(securatlas_at_subtransaction_end, nullptr);
        });
        pending.registered = true;
    }
    pending.any = true;
    return pending;
}

}  // namespace

void notify(Notice::Kind kind, std::int64_t id) {
    Pending& to = pend();
    if (to.count < kCapacity) {
        to.notices[to.count++] = {kind, id};
    } else {
        to.everything = true;
    }
}

void notify_everything() { pend().everything = true; }
void want_scheduler(DatabaseOid database) { pend().scheduler = database; }
void database_blocked(DatabaseOid database, bool is_dropped) {
    pend().blocks = true;
    if (is_dropped) pending.dropped = database;
}
void extension_changed() { pend().extension = true; }
void roles_changed() { pend().roles = true; }
void wake_http_worker() {
    if (!pend().http) {
        // A request must not be sent while a crash could still undo its transaction.
        call([] { ForceSyncCommit(); });
    }
    pending.http = true;
}

void request_cancelled(std::int64_t id) {
    Pending& to = pend();
    if (to.cancelled_count < kCapacity) {
        to.cancelled[to.cancelled_count] = id;
        to.cancelled_in[to.cancelled_count++] = call([] { return GetCurrentSubTransactionId(); });
    } else {
        to.cancelled_overflowed = true;
        ++to.cancelled_beyond;
    }
}

// Those of the last subtransactions are together if they are too many.
void request_made(DatabaseOid owner, std::int64_t job, std::int64_t run) {
    Pending& to = pend();
    const SubTransactionId in = call([] { return GetCurrentSubTransactionId(); });
    const bool is_same = to.made_count > 0 && to.made[to.made_count - 1].in == in;
    if (!is_same && to.made_count < kCapacity) to.made[to.made_count++] = {in, 0};
    ++to.made[to.made_count - 1].count;
    to.made_for = owner;
    to.made_by = job;
    to.made_in = run;
    if (++to.made_at_all % progress::kLong != 0) return;
    if (to.made_at_all == progress::kLong) {
        progress::begin("outbox", "making requests", progress::kUnknown);
    }
    progress::advance(progress::kLong);
}

void requests_removed() { pend().cancelled_overflowed = true; }

Prepared prepared_notices() {
    return call([] {
        if (RecoveryInProgress()) return Prepared::nothing;
        if (is_marked(Prepared::anything)) return Prepared::anything;
        return is_marked(Prepared::requests) ? Prepared::requests : Prepared::nothing;
    });
}

void notify_after_prepared(Prepared notices) noexcept {
    if (notices == Prepared::nothing) return;
    if (notices == Prepared::anything) {
        DatabaseTable::want_scheduler(MyDatabaseId);
        DatabaseTable::notify_everywhere();
        DatabaseTable::notify_extension_changed(MyDatabaseId);
        DatabaseTable::notify(MyDatabaseId, nullptr, 0, true);
    }
    DatabaseTable::wake_http_worker(MyDatabaseId);
    HttpTable::notify_cancelled(MyDatabaseId, nullptr, 0, true);
}

}  // namespace securatlas::pg::at_commit
