// The shared memory segment itself: layout, lock, and its request at server start.
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

// More databases than this cannot hold the extension at the same time; the launcher says so.
inline constexpr int kMaxDatabases = 128;
inline constexpr int kNoticeCapacity = 512;
inline constexpr int kCancelledCapacity = 512;

enum class SlotState : std::int32_t {
    free,
    reserved,  // a scheduler is launching a worker for the order in it
    idle,      // its worker waits for an order
    leaving,   // its idle worker was asked to exit
    busy,      // its worker has the order
    done,      // its worker is idle; the report waits to be collected
    dead,      // its worker is gone; the report waits to be collected
};

// All fields are protected by SharedState::lock, except where noted.
struct WorkerSlotState {
    SlotState state;
    std::uint32_t generation;  // counts the slot's workers
    // The database whose scheduler collects what the slot reports; 0: nobody does any more, and the
    // slot is free as soon as its worker is gone.
    DatabaseOid owner;
    Target target;
    Pid pid;
    Bell bell;     // of the worker
    bool overdue;  // in `done`: the worker is to leave as soon as its report is collected
    Order order;
    core::Instant started_at;             // of a run
    std::optional<CallbackCall> calling;  // of callbacks
    WorkerReport report;
    // Read by the worker's signal handler without the lock; 8 bytes, written whole.
    volatile std::int64_t cancel_run;
};

enum class SchedulerState : std::int32_t { absent, wanted, starting, running };

struct DatabaseState {
    DatabaseOid database;  // 0: the entry is free
    SchedulerState scheduler;
    // A scheduler was asked for since the one that is there last looked for the extension.
    bool wanted_again;
    Pid holder;  // backend that keeps the processes out; 0: none
    Bell scheduler_bell;
    SchedulerStatus status;
    core::Instant retry_at;  // not to be started before
    std::int32_t failures;   // in a row
    Pid http_pid;
    Bell http_bell;
    bool http_wanted;  // work came since the http worker last looked
    bool check_extension;
    bool overflowed;
    std::int32_t notice_count;
    Notice notices[kNoticeCapacity];
};

// What an http worker shows. Left as it is when the worker goes.
struct HttpDatabaseState {
    DatabaseOid database;  // 0: the entry is free
    Pid pid;               // that has shown this
    core::Instant started;
    core::Instant updated;
    std::int64_t waiting;
    std::int64_t sent;
    std::int64_t failed;
    std::int64_t sent_before;  // by processes before this one
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

// All fields are protected by HttpState::lock: what is written here is longer than what may be
// written under the other lock. Who takes both takes this one first.
struct HttpState {
    LWLock* lock;
    ConditionVariable recorded;  // the end of requests, of whatever database
    HttpDatabaseState databases[kMaxDatabases];
    HttpHostState hosts[kMaxHosts];
};

struct SharedState {
    LWLock* lock;
    HttpState http;
    Pid launcher_pid;
    Bell launcher_bell;
    bool overcrowded;  // a database that asked for a scheduler got no entry
    DatabaseState databases[kMaxDatabases];
    int slot_count;
    WorkerSlotState slots[FLEXIBLE_ARRAY_MEMBER];
};

// Asks for the segment; for _PG_init in the postmaster. `slot_count` is cron.max_running_jobs.
void request_shared_memory(const int* slot_count);

// Null if the library was not loaded through shared_preload_libraries.
SharedState* shared_state() noexcept;

// Throws an Error (55000) that says to preload the library, if it is not.
SharedState& require_shared_state();

// Holds the lock.
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

// The functions below are to be called with the lock held.

// The entry of a database, or null.
DatabaseState* find_database(SharedState& state, DatabaseOid database) noexcept;

// Rings for the owner's scheduler, if there is one.
void wake_scheduler(SharedState& state, DatabaseOid owner) noexcept;

// Nobody collects any more what the slots of this owner report: slots without a worker are free
// now, the others when their workers, which are asked to end (SIGTERM), are gone.
void abandon_slots(SharedState& state, DatabaseOid owner) noexcept;

}  // namespace securatlas::pg
