// The shared memory segment: its layout, its lock, and its request at server start.
#pragma once

#include "securatlas/pg/border/prelude.hpp"
#include "securatlas/pg/shared/bell.hpp"
#include "securatlas/pg/shared/http_table.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

extern "C" {
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
}

namespace securatlas::pg {

// At most this many databases can have the extension at the same time; the launcher logs it if
// there are more.
inline constexpr int kMaxDatabases = 128;
inline constexpr int kNoticeCapacity = 512;
inline constexpr int kCancelledCapacity = 512;
// Runs that may wait in the slot of a worker that executes another one.
inline constexpr int kQueueLength = 16;
// Ends of runs that may wait in a slot to be collected while its worker goes on.
inline constexpr int kEndsCapacity = 2 * kQueueLength;

enum class SlotState : std::int32_t {
    free,
    reserved,  // a scheduler is launching a worker for its order
    idle,      // its worker waits for an order
    leaving,   // its idle worker was asked to exit
    busy,      // its worker executes its order
    done,      // the order has ended, and the worker waits until its report is collected
    dead,      // the worker has ended, and what it has left waits to be collected
};

// A run that waits in a slot behind the order in progress.
struct QueuedRun {
    RunOrder order;
    bool cancelled;
};

// All fields are protected by SharedState::lock, except where noted.
struct WorkerSlotState {
    SlotState state;
    std::uint32_t generation;  // counts the slot's workers
    // The database whose scheduler collects the reports of the slot; 0: no scheduler does any more,
    // and the slot becomes free when its worker ends.
    DatabaseOid owner;
    Target target;
    Pid pid;
    Bell bell;                 // of the worker
    bool overdue;              // in `done`: the worker ends as soon as its report is collected
    Order order;               // in progress; else the last one
    core::Duration taken_at;   // monotonic: when the worker took `order`; 0: not yet
    bool was_queued;           // `order` came from the queue
    core::Instant started_at;  // of a run
    bool is_ending;            // of a run: how it ends is decided
    std::optional<CallbackCall> calling;  // for an order for callbacks
    std::int32_t queued;                  // runs in the queue, the next one first
    QueuedRun queue[kQueueLength];
    std::int32_t ended;  // ends that were not collected, the first one first
    RecordedEnd ends[kEndsCapacity];
    // How many of the worker's last runs have waited, as a moving average of 0 and 1; negative: it
    // has ended none yet.
    float waiting_runs;
    bool has_report;  // in `done` and `dead`
    WorkerReport report;
    // Read by the worker's signal handler without the lock, which is safe for an aligned 8-byte
    // value.
    volatile std::int64_t cancel_run;
};

enum class SchedulerState : std::int32_t { absent, wanted, starting, running };

struct DatabaseState {
    DatabaseOid database;  // 0: the entry is free
    SchedulerState scheduler;
    // A scheduler was requested after the running one last looked for the extension.
    bool wanted_again;
    Pid blocked_by;  // backend that keeps the extension's processes out of the database; 0: none
    Bell scheduler_bell;
    SchedulerStatus status;
    core::Instant retry_at;  // not to be started before
    std::int32_t failures;   // consecutive
    Pid http_pid;
    Bell http_bell;
    core::Instant http_restart_at;  // http workers that were started before leave
    bool http_wanted;               // requests came since the http worker last looked
    bool check_extension;
    bool overflowed;
    std::int32_t notice_count;
    Notice notices[kNoticeCapacity];
};

// What an http worker publishes. Stays as it is when the worker ends.
struct HttpDatabaseState {
    DatabaseOid database;  // 0: the entry is free
    Pid pid;               // process that published this
    core::Instant started;
    core::Instant updated;
    std::int64_t waiting;
    std::int64_t sent;
    std::int64_t failed;
    std::int64_t sent_before;  // by earlier processes
    std::int64_t failed_before;
    std::array<char, 256> last_error;
    std::int64_t in_flight_count;
    std::int32_t in_flight_shown;
    std::int64_t in_flight[kMaxInFlightShown];
    bool overflowed;
    std::int32_t cancelled_count;
    std::int64_t cancelled[kCancelledCapacity];
};

struct HttpHostState {
    DatabaseOid database;  // 0: the entry is free
    std::array<char, 256> host;
    std::int32_t in_flight;
    std::int64_t requests;
    std::int64_t failures;
    bool limited;
    core::BreakerState breaker;
    core::Instant next_try;
    core::Duration p50;  // negative: unknown
    core::Duration p95;
    std::array<char, 200> last_error;
    core::Instant updated;
};

// All fields are protected by HttpState::lock. It is a lock of its own because publishing takes
// longer than SharedState::lock may be held. A process that needs both acquires this one first.
struct HttpState {
    LWLock* lock;
    ConditionVariable recorded;  // broadcast when ends of requests are committed, in any database
    HttpDatabaseState databases[kMaxDatabases];
    HttpHostState hosts[kMaxHosts];
};

struct SharedState {
    LWLock* lock;
    HttpState http;
    Pid launcher_pid;
    Bell launcher_bell;
    bool overcrowded;  // there was no free entry for a database that needs a scheduler
    // The server has no background worker for a scheduler. Until this instant (monotonic) no job
    // worker is launched, and the first one that ends a run makes room (`is_room_wanted`).
    core::Duration room_until;
    bool is_room_wanted;
    // The database whose http worker the launcher keeps running, even without the extension, so
    // that its entry is never free; 0: none.
    DatabaseOid kept_http;
    DatabaseState databases[kMaxDatabases];
    int slot_count;
    WorkerSlotState slots[FLEXIBLE_ARRAY_MEMBER];
};

// Requests the segment; for _PG_init in the postmaster. `slot_count` points to
// cron.max_running_jobs.
void request_shared_memory(const int* slot_count);

// Null if the library was not loaded by shared_preload_libraries.
SharedState* shared_state() noexcept;

// Throws Error 55000, with the hint to preload the library, if it was not preloaded.
SharedState& require_shared_state();

// Holds the lock exclusively for its lifetime.
class SharedLock {
  public:
    explicit SharedLock(SharedState& state) : SharedLock(state.lock) {}
    explicit SharedLock(HttpState& state) : SharedLock(state.lock) {}
    ~SharedLock() { LWLockRelease(lock_); }
    SharedLock(const SharedLock&) = delete;
    SharedLock& operator=(const SharedLock&) = delete;

  private:
    explicit SharedLock(LWLock* lock) : lock_(lock) { LWLockAcquire(lock_, LW_EXCLUSIVE); }

    LWLock* lock_;
};

// The functions below must be called with the lock held.

// The entry of a database; null if it has none.
DatabaseState* find_database(SharedState& state, DatabaseOid database) noexcept;

// Wakes the scheduler of the database, if it has one.
void wake_scheduler(SharedState& state, DatabaseOid owner) noexcept;

// Whether a backend keeps the extension's processes out of the database.
bool is_closed(SharedState& state, DatabaseOid database) noexcept;

// How long a run, and another process, may take to end by itself when its database is blocked.
constexpr core::Duration kPatienceWithRuns = std::chrono::milliseconds(500);
constexpr core::Duration kPatience = std::chrono::seconds(3);

// Whether the worker executes a run that is soon over, as far as is known.
bool is_soon_free(const WorkerSlotState& slot, core::Duration now) noexcept;

// Makes an order the one in progress. Its worker takes it now, or later (`now` is 0).
void give(WorkerSlotState& slot, const Order& order, core::Duration now) noexcept;

// Takes the next run from the queue, if there is one, and makes it the one in progress.
bool give_next(WorkerSlotState& slot, core::Duration now) noexcept;

// The order in progress has ended: the worker gets the next run of the queue, becomes idle, or has
// to leave to make room for a scheduler. What is in its queue then is handed out again.
void go_on(SharedState& state, WorkerSlotState& slot, core::Duration now) noexcept;

// Ends the ownership of all slots of this owner, whose reports nobody will collect: slots without a
// worker become free now, the others when their workers, which get SIGTERM, have ended.
void abandon_slots(SharedState& state, DatabaseOid owner) noexcept;

// Ends the job workers of a database, as DatabaseTable::block() does; those that have not come yet
// will not connect, and their orders go back.
int end_workers_in(SharedState& state, DatabaseOid database, core::Duration waited);

}  // namespace securatlas::pg
