// DatabaseTable as the scheduler and the http worker of a database see it.
#include <algorithm>
#include <csignal>
#include <utility>

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/http_table.hpp"
#include "shared/database_entry.hpp"

extern "C" {
#include "miscadmin.h"
#include "storage/ipc.h"
}

namespace securatlas::pg {
namespace {

constexpr core::Duration kFirstRestartPause = std::chrono::seconds(1);
constexpr core::Duration kLongestRestartPause = std::chrono::minutes(1);

// Exit hook of the scheduler. The launcher starts it again, unless the entry was freed.
void leave_as_scheduler(int, Datum database) {
    SharedState& state = *shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, DatumGetObjectId(database));
    if (entry == nullptr || entry->status.pid != MyProcPid) return;
    entry->status.pid = 0;
    entry->scheduler_bell.latch = nullptr;
    entry->scheduler = SchedulerState::wanted;
    entry->overflowed = true;  // the notices that it has taken may be lost
    pause_before_restart(*entry);
    wake_launcher(state);
}

void leave_as_http_worker(int, Datum database) {
    SharedState& state = *shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, DatumGetObjectId(database));
    if (entry == nullptr || entry->http_pid != MyProcPid) return;
    entry->http_pid = 0;
    entry->http_bell.latch = nullptr;
    // A worker without work detaches before it exits. This one did not, so that it may have left
    // work.
    entry->http_wanted = true;
    wake_scheduler(state, entry->database);
    if (entry->database == state.kept_http) wake_launcher(state);
}

// Of an entry whose http worker stays.
void forget_scheduler(DatabaseState& entry) noexcept {
    entry.scheduler = SchedulerState::absent;
    entry.wanted_again = false;
    entry.scheduler_bell.latch = nullptr;
    entry.status = SchedulerStatus{};
    entry.retry_at = core::kLongAgo;
    entry.failures = 0;
    entry.check_extension = false;
    entry.overflowed = false;
    entry.notice_count = 0;
    entry.http_wanted = true;
    entry.http_bell.ring();
}

}  // namespace

// ---- entries -------------------------------------------------------------------------------

void clear_entry(DatabaseState& entry, DatabaseOid database) noexcept {
    memset(static_cast<void*>(&entry), 0, sizeof entry);
    entry.database = database;
    entry.retry_at = core::kLongAgo;
}

void forget_entry(SharedState& state, DatabaseState& entry) noexcept {
    abandon_slots(state, entry.database);
    if (entry.database == state.kept_http) {
        forget_scheduler(entry);
        return;
    }
    if (entry.http_pid != 0) kill(entry.http_pid, SIGTERM);
    entry.database = 0;
}

void wake_launcher(SharedState& state) noexcept { state.launcher_bell.ring(); }

bool is_closed(SharedState& state, DatabaseOid database) noexcept {
    const DatabaseState* entry = find_database(state, database);
    return entry != nullptr && is_blocked(*entry);
}

void pause_before_restart(DatabaseState& entry) {
    core::Duration pause = kFirstRestartPause;
    for (int i = 0; i < entry.failures && pause < kLongestRestartPause; ++i) pause *= 2;
    entry.retry_at = now() + (std::min)(pause, kLongestRestartPause);
    ++entry.failures;
}

// ---- the scheduler -------------------------------------------------------------------------

bool DatabaseTable::attach_scheduler(DatabaseOid database) {
    SharedState& state = require_shared_state();
    {
        SharedLock lock(state);
        DatabaseState* entry = find_database(state, database);
        if (entry == nullptr || is_blocked(*entry) || entry->status.pid != 0) return false;
        entry->scheduler = SchedulerState::running;
        entry->scheduler_bell.latch = MyLatch;
        listen_to(entry->scheduler_bell);
        entry->wanted_again = false;
        entry->status = SchedulerStatus{};
        entry->status.pid = MyProcPid;
        entry->status.started = now();
        entry->notice_count = 0;
        entry->overflowed = false;
        entry->check_extension = false;
    }
    call([database] { before_shmem_exit(leave_as_scheduler, ObjectIdGetDatum(database)); });
    return true;
}

void DatabaseTable::begin_look(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry != nullptr) entry->wanted_again = false;
}

void DatabaseTable::detach_scheduler(DatabaseOid database, bool again) {
    SharedState& state = require_shared_state();
    HttpTable::forget(database);
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry == nullptr || entry->status.pid != MyProcPid) return;
    const bool is_wanted = again || entry->wanted_again;
    const Pid blocked_by = entry->blocked_by;
    forget_entry(state, *entry);
    if (!is_wanted) return;
    if (entry->database == 0) clear_entry(*entry, database);
    entry->blocked_by = blocked_by;
    entry->scheduler = SchedulerState::wanted;
    wake_launcher(state);
}

void DatabaseTable::abandon_orders(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    abandon_slots(state, database);
}

Notices DatabaseTable::take_notices(DatabaseOid database) {
    SharedState& state = require_shared_state();
    Notices found;
    found.notices.reserve(kNoticeCapacity);
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry == nullptr) return found;
    found.notices.assign(entry->notices, entry->notices + entry->notice_count);
    found.overflowed = entry->overflowed;
    found.check_extension = entry->check_extension;
    found.http_wanted = entry->http_wanted && entry->http_pid == 0;
    entry->notice_count = 0;
    entry->overflowed = false;
    entry->check_extension = false;
    return found;
}

void DatabaseTable::publish(DatabaseOid database, const SchedulerStatus& status) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry == nullptr || entry->status.pid != MyProcPid) return;
    const SchedulerStatus before = entry->status;
    entry->status = status;
    entry->status.pid = before.pid;
    entry->status.started = before.started;
    entry->failures = 0;
}

// ---- the http worker -----------------------------------------------------------------------

bool DatabaseTable::attach_http_worker(DatabaseOid database) {
    SharedState& state = require_shared_state();
    {
        SharedLock lock(state);
        DatabaseState* entry = find_database(state, database);
        if (entry == nullptr || is_blocked(*entry) || entry->http_pid != 0) return false;
        // A time in the future was set before the clock was set back: ignore it.
        if (entry->http_restart_at <= now() &&
            to_instant(MyStartTimestamp) < entry->http_restart_at) {
            entry->http_wanted = true;
            wake_scheduler(state, database);
            return false;
        }
        entry->http_pid = MyProcPid;
        entry->http_bell.latch = MyLatch;
        listen_to(entry->http_bell);
        entry->http_wanted = false;
    }
    call([database] { before_shmem_exit(leave_as_http_worker, ObjectIdGetDatum(database)); });
    return true;
}

void DatabaseTable::detach_http_worker(DatabaseOid database) noexcept {
    SharedState& state = *shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry == nullptr || entry->http_pid != MyProcPid) return;
    entry->http_pid = 0;
    entry->http_bell.latch = nullptr;
}

bool DatabaseTable::take_http_wanted(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    return entry != nullptr && std::exchange(entry->http_wanted, false);
}

bool DatabaseTable::detach_http_worker_if_idle(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry == nullptr) return true;
    if (entry->http_wanted) {
        entry->http_wanted = false;
        return false;
    }
    entry->http_pid = 0;
    entry->http_bell.latch = nullptr;
    return true;
}

Pid DatabaseTable::http_worker_pid(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    const DatabaseState* entry = find_database(state, database);
    return entry == nullptr ? 0 : entry->http_pid;
}

bool DatabaseTable::http_worker_is_kept(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    return state.kept_http == database;
}

}  // namespace securatlas::pg
