#include <algorithm>
#include <csignal>
#include <utility>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/http_table.hpp"
#include "securatlas/pg/shared/statistics.hpp"
#include "shared/database_entry.hpp"

extern "C" {
#include "storage/ipc.h"
}

namespace securatlas::pg {
namespace {

// An entry is there for its processes, or for a block of the database.
bool is_unused(const SharedState& state, const DatabaseState& entry) noexcept {
    return entry.scheduler == SchedulerState::absent && entry.http_pid == 0 &&
           entry.database != state.kept_http && !is_blocked(entry);
}

DatabaseState* find_or_add(SharedState& state, DatabaseOid database) noexcept {
    DatabaseState* entry = find_database(state, database);
    if (entry != nullptr) return entry;
    entry = find_database(state, 0);
    if (entry == nullptr) return nullptr;
    clear_entry(*entry, database);
    return entry;
}

// Asks a process to end, if there is one; returns their number.
int end_process(Pid pid, Bell& bell, core::Duration waited) noexcept {
    if (pid == 0) return 0;
    if (waited >= kPatience) {
        kill(pid, SIGTERM);
    } else {
        bell.ring_to_end();
    }
    return 1;
}

void want(DatabaseState& entry) noexcept {
    if (entry.scheduler == SchedulerState::absent) {
        entry.scheduler = SchedulerState::wanted;
        entry.retry_at = core::kLongAgo;
    } else {
        entry.wanted_again = true;
    }
}

// One notice for each role, however many of its responses are recorded before the scheduler takes
// it.
void add_callback_notice(DatabaseState& entry, RoleOid role) noexcept {
    const Notice notice{Notice::Kind::callback_waiting, std::int64_t{role}};
    Notice* const end = entry.notices + entry.notice_count;
    const bool is_queued = std::any_of(entry.notices, end, [&notice](const Notice& queued) {
        return queued.kind == notice.kind && queued.id == notice.id;
    });
    if (is_queued) return;
    if (entry.notice_count == kNoticeCapacity) {
        entry.overflowed = true;
        return;
    }
    *end = notice;
    ++entry.notice_count;
}

void detach_launcher(int, Datum) {
    SharedState& state = *shared_state();
    SharedLock lock(state);
    state.launcher_pid = 0;
    state.launcher_bell.latch = nullptr;
}

}  // namespace

// ---- any backend ---------------------------------------------------------------------------

void DatabaseTable::want_scheduler(DatabaseOid database) noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    SharedLock lock(*state);
    DatabaseState* entry = find_or_add(*state, database);
    if (entry == nullptr) {
        state->overcrowded = true;
    } else {
        want(*entry);
        entry->http_bell.ring();  // one that is kept waits for the extension
    }
    wake_launcher(*state);
}

void DatabaseTable::notify(DatabaseOid database, const Notice* notices, std::size_t count,
                           bool overflowed) noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    SharedLock lock(*state);
    DatabaseState* entry = find_database(*state, database);
    if (entry == nullptr) return;
    const auto room = static_cast<std::size_t>(kNoticeCapacity - entry->notice_count);
    if (overflowed || count > room) {
        entry->overflowed = true;
    } else {
        std::copy_n(notices, count, entry->notices + entry->notice_count);
        entry->notice_count += static_cast<std::int32_t>(count);
    }
    wake_scheduler(*state, database);
}

void DatabaseTable::notify_everywhere() noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    SharedLock lock(*state);
    for (DatabaseState& entry : state->databases) {
        if (entry.database == 0) continue;
        entry.overflowed = true;
        wake_scheduler(*state, entry.database);
    }
}

void DatabaseTable::notify_callbacks(DatabaseOid database,
                                     const std::vector<RoleOid>& roles) noexcept {
    SharedState* state = shared_state();
    if (state == nullptr || roles.empty()) return;
    SharedLock lock(*state);
    DatabaseState* entry = find_database(*state, database);
    if (entry == nullptr) return;
    for (const RoleOid role : roles) add_callback_notice(*entry, role);
    wake_scheduler(*state, database);
}

void DatabaseTable::notify_extension_changed(DatabaseOid database) noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    SharedLock lock(*state);
    DatabaseState* entry = find_database(*state, database);
    if (entry == nullptr) return;
    entry->check_extension = true;
    wake_scheduler(*state, database);
    if (entry->http_pid == 0) return;
    entry->http_wanted = true;  // to read the queue, and to see whether it is another one
    entry->http_bell.ring();
}

void DatabaseTable::wake_http_worker(DatabaseOid database) noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    SharedLock lock(*state);
    DatabaseState* entry = find_database(*state, database);
    if (entry == nullptr) return;
    entry->http_wanted = true;
    entry->http_bell.ring();
    if (entry->http_pid == 0) wake_scheduler(*state, database);
}

bool DatabaseTable::restart_http_worker(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry == nullptr) return false;
    entry->http_restart_at = now();
    return entry->http_pid != 0 && kill(entry->http_pid, SIGTERM) == 0;
}

int DatabaseTable::block(DatabaseOid database, core::Duration waited) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    int left = 0;
    // Also one that has no processes must not get any.
    if (DatabaseState* entry = find_or_add(state, database); entry != nullptr) {
        entry->blocked_by = MyProcPid;
        left += end_process(entry->status.pid, entry->scheduler_bell, waited);
        left += end_process(entry->http_pid, entry->http_bell, waited);
    }
    return left + end_workers_in(state, database, waited);
}

void DatabaseTable::unblock_all() noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    SharedLock lock(*state);
    for (DatabaseState& entry : state->databases) {
        if (entry.database == 0 || entry.blocked_by != MyProcPid) continue;
        entry.blocked_by = 0;
        entry.retry_at = core::kLongAgo;
        if (is_unused(*state, entry)) entry.database = 0;
    }
    wake_launcher(*state);
}

void DatabaseTable::forget(DatabaseOid database) noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    HttpTable::forget(database);
    Statistics::forget(database);
    SharedLock lock(*state);
    if (state->kept_http == database) state->kept_http = 0;
    DatabaseState* entry = find_database(*state, database);
    if (entry != nullptr) forget_entry(*state, *entry);
}

std::optional<SchedulerStatus> DatabaseTable::status(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    const DatabaseState* entry = find_database(state, database);
    if (entry == nullptr) return std::nullopt;
    return entry->status;
}

// ---- the launcher --------------------------------------------------------------------------

void DatabaseTable::attach_launcher() {
    SharedState& state = require_shared_state();
    {
        SharedLock lock(state);
        state.launcher_pid = MyProcPid;
        state.launcher_bell.latch = MyLatch;
        listen_to(state.launcher_bell);
        // Schedulers that an earlier launcher was starting when it ended are not being followed any
        // more: start them again.
        for (DatabaseState& entry : state.databases) {
            if (entry.database == 0 || entry.scheduler != SchedulerState::starting) continue;
            entry.scheduler = SchedulerState::wanted;
            pause_before_restart(entry);
        }
    }
    call([] { before_shmem_exit(detach_launcher, 0); });
}

std::vector<DatabaseOid> DatabaseTable::want_all(const std::vector<DatabaseOid>& databases) {
    SharedState& state = require_shared_state();
    std::vector<DatabaseOid> left_over;
    left_over.reserve(databases.size());  // no allocation while the lock is held
    SharedLock lock(state);
    for (const DatabaseOid database : databases) {
        DatabaseState* entry = find_or_add(state, database);
        if (entry == nullptr) {
            left_over.push_back(database);
        } else {
            want(*entry);
        }
    }
    return left_over;
}

bool DatabaseTable::take_overcrowded() {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    return std::exchange(state.overcrowded, false);
}

std::vector<DatabaseOid> DatabaseTable::to_start() {
    SharedState& state = require_shared_state();
    std::vector<DatabaseOid> wanted;
    wanted.reserve(kMaxDatabases);
    const core::Instant time = now();
    SharedLock lock(state);
    for (DatabaseState& entry : state.databases) {
        if (entry.database == 0 || entry.scheduler != SchedulerState::wanted) continue;
        if (!is_blocked(entry) && entry.retry_at <= time) wanted.push_back(entry.database);
    }
    return wanted;
}

void DatabaseTable::set_starting(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry != nullptr) entry->scheduler = SchedulerState::starting;
}

void DatabaseTable::start_failed(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry == nullptr || entry->scheduler != SchedulerState::starting) return;
    entry->scheduler = SchedulerState::wanted;
    pause_before_restart(*entry);
}

void DatabaseTable::start_later(DatabaseOid database, core::Duration pause) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    DatabaseState* entry = find_database(state, database);
    if (entry == nullptr || entry->scheduler != SchedulerState::starting) return;
    entry->scheduler = SchedulerState::wanted;
    entry->retry_at = now() + pause;
}

bool DatabaseTable::scheduler_is_running(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    const DatabaseState* entry = find_database(state, database);
    return entry != nullptr && entry->scheduler == SchedulerState::running;
}

std::optional<core::Instant> DatabaseTable::next_start() {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    std::optional<core::Instant> next;
    for (DatabaseState& entry : state.databases) {
        if (entry.database == 0 || entry.scheduler != SchedulerState::wanted) continue;
        if (!is_blocked(entry) && (!next || entry.retry_at < *next)) next = entry.retry_at;
    }
    return next;
}

void DatabaseTable::keep_http_worker(DatabaseOid database) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    const bool has_room = database == 0 || find_or_add(state, database) != nullptr;
    if (!has_room) state.overcrowded = true;
    const DatabaseOid before = std::exchange(state.kept_http, has_room ? database : 0);
    if (before == 0 || before == state.kept_http) return;
    DatabaseState* entry = find_database(state, before);
    if (entry == nullptr) return;
    if (entry->scheduler == SchedulerState::absent) {
        forget_entry(state, *entry);
    } else {
        entry->http_bell.ring();
        wake_scheduler(state, before);
    }
}

bool DatabaseTable::kept_http_worker_is_missing() {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    if (state.kept_http == 0) return false;
    DatabaseState* entry = find_database(state, state.kept_http);
    return entry != nullptr && entry->http_pid == 0 && !is_blocked(*entry);
}

}  // namespace securatlas::pg
