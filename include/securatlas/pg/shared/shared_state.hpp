// What the processes of the extension tell each other through shared memory. Nothing here has to
// survive a crash: it is rebuilt from tables. One lock protects all of it; it is held for a few
// hundred nanoseconds and never while waiting.
//
//   DatabaseTable  one entry for each database that holds the extension: its scheduler, its http
//                  worker, and what they have been told.
//   WorkerTable    one slot for each job worker the cluster may have (cron.max_running_jobs).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/order.hpp"

namespace securatlas::pg {

// ---- job workers ---------------------------------------------------------------------------

// An order that a worker has, or that a worker is being started for.
struct OrderInProgress {
    Order order;
    Pid pid;                   // 0 while the worker is being started
    core::Instant started_at;  // of a run; kLongAgo until it has started
};

struct WorkerCounts {
    int busy = 0;
    int idle = 0;
    int limit = 0;
};

// The scheduler's view. `owner` is the scheduler's database everywhere.
class WorkerTable {
  public:
    enum class Assignment {
        handed,    // an idle worker of the target has it
        reserved,  // slot() is reserved for a new worker, which the caller launches
        waiting,   // no slot is free; an idle worker of another target was asked to leave
        full,      // all slots are busy
        share,     // the role has its share of the slots (core::may_have_slot)
    };
    struct Assigned {
        Assignment assignment;
        int slot = -1;
        std::uint32_t generation = 0;
    };

    static Assigned assign(DatabaseOid owner, const Target& target, const Order& order);

    // What assign() would come to now: `reserved` if a slot is free, and nothing is reserved. For
    // an order that costs something to make.
    static Assignment room_for(DatabaseOid owner, const Target& target);

    // Only an idle worker: for when no new one can be started.
    static bool assign_to_idle(DatabaseOid owner, const Target& target, const Order& order);

    // Worker slots of the server are out: an idle worker, of whatever target, is asked to leave.
    static void make_room();

    // The reserved slot's worker could not be launched. True if the slot was still reserved.
    static bool release_reserved(int slot, std::uint32_t generation);

    // Reports of ended orders; their workers are idle (or gone) afterwards.
    // Adds to `reports`: if there is no memory for them, nothing is collected and nothing lost.
    static void collect(DatabaseOid owner, std::vector<WorkerReport>& reports);

    static std::vector<OrderInProgress> in_progress(DatabaseOid owner);
    static WorkerCounts counts(DatabaseOid owner);

    // Asks the worker of this run of the owner to cancel it: other databases have runs of the same
    // number. False if no worker has it. Any process may call it.
    static bool cancel(DatabaseOid owner, core::RunId run);

    // What a new scheduler finds of the owner's, at one instant: orders that workers have, and
    // reports that nobody has collected. They are collected then. Of reservations the workers are
    // not known to live: should one come, it ends at once.
    struct TakenOver {
        std::vector<OrderInProgress> in_progress;
        std::vector<WorkerReport> reports;
    };
    static TakenOver take_over(DatabaseOid owner);
};

// The job worker's view of its own slot.
class WorkerSlot {
  public:
    // Takes the slot it was started for; ends the process if it is no longer meant. From here on
    // the slot is released, and an order in it reported as failed, whenever and however it exits.
    static void attach(int slot, std::uint32_t generation);

    static Target target();
    static DatabaseOid owner();

    // The next order, nullopt if there is none yet.
    static std::optional<Order> take();

    // True: the process is to exit, because its place is wanted, or because no order came and it is
    // overdue. An overdue worker whose report nobody has collected yet is called when it is.
    static bool leave(bool is_overdue);

    // Gives back an order that was not begun, for another worker of the target, and the slot with
    // it: the process is to exit. False: it is to be cancelled, which this worker has to do.
    static bool give_back();

    static void report_started(core::Instant at);
    // The callback that is being called; nullopt: none.
    static void report_calling(std::optional<CallbackCall> call);
    static void report(const WorkerReport& report);

    // Tells whether somebody asked to cancel this run. Async-signal-safe.
    static bool cancel_requested(core::RunId run) noexcept;
};

// ---- databases -----------------------------------------------------------------------------

struct Notice {
    enum class Kind : std::int32_t {
        job_changed,
        run_requested,
        run_cancelled,
        callback_waiting,
        purge_wanted,
    };
    Kind kind;
    // Of the job, of the run; callback_waiting: the role that made the requests; purge_wanted (of
    // responses): none.
    std::int64_t id;
};

// What a scheduler was told since it last asked.
struct Notices {
    std::vector<Notice> notices;
    bool overflowed = false;       // notices were lost: look at everything
    bool check_extension = false;  // it may have been dropped
    bool http_wanted = false;      // there are requests and no http worker
};

// What cron.scheduler_status shows.
struct SchedulerStatus {
    Pid pid = 0;
    core::Instant started{};
    core::Instant planned_until{};
    std::int64_t jobs = 0;
    std::int64_t waiting = 0;
    core::Instant oldest_wait = core::kNever;
    core::Instant last_clock_step = core::kLongAgo;
    std::array<char, 256> last_error{};
};

class DatabaseTable {
  public:
    // -- any backend; these never throw, so that commit callbacks may call them
    static void want_scheduler(DatabaseOid database) noexcept;
    static void notify(DatabaseOid database, const Notice* notices, std::size_t count,
                       bool overflowed) noexcept;
    // All schedulers look at everything.
    static void notify_everywhere() noexcept;
    // Responses of requests that these roles have made wait for their callbacks, and are committed.
    static void notify_callbacks(DatabaseOid database, const std::vector<RoleOid>& roles) noexcept;
    static void notify_extension_changed(DatabaseOid database) noexcept;
    static void wake_http_worker(DatabaseOid database) noexcept;
    // Ends the http worker (SIGTERM); another one follows. False if there is none.
    static bool restart_http_worker(DatabaseOid database);

    // Ends all processes of the extension in a database and keeps them from being started until
    // release(), or until this backend is gone. Returns the pids that have to be gone.
    static std::vector<Pid> hold(DatabaseOid database);
    static void release(DatabaseOid database) noexcept;

    static std::optional<SchedulerStatus> status(DatabaseOid database);

    // -- the launcher
    static void attach_launcher();
    // Wants a scheduler in each; returns those for which there is no entry left.
    static std::vector<DatabaseOid> want_all(const std::vector<DatabaseOid>& databases);
    // True, once, if want_scheduler() found no entry for a database.
    static bool take_overcrowded();
    // Databases whose scheduler is wanted, not held, and not there.
    static std::vector<DatabaseOid> to_start();
    static void set_starting(DatabaseOid database);
    static void start_failed(DatabaseOid database);
    static bool any_held();
    static bool scheduler_is_running(DatabaseOid database);
    // When the next database that waits for its restart may be started.
    static std::optional<core::Instant> next_start();
    // The database is gone. Whoever works for it ends.
    static void forget(DatabaseOid database);

    // -- the scheduler
    // False if another scheduler is there already, or the database is held.
    static bool attach_scheduler(DatabaseOid database);
    // The extension is looked for now: whoever asks for a scheduler from here on may have made it.
    static void begin_look(DatabaseOid database);
    // The scheduler found no extension: whoever works for the database ends. The database is
    // forgotten, unless a scheduler was asked for since begin_look() or `again` says that the
    // extension is there anew: then another scheduler follows.
    static void detach_scheduler(DatabaseOid database, bool again);
    // What workers are doing for this database's scheduler is of no interest to anybody any more.
    static void abandon_orders(DatabaseOid database);
    static Notices take_notices(DatabaseOid database);
    static void publish(DatabaseOid database, const SchedulerStatus& status);

    // -- the http worker
    static bool attach_http_worker(DatabaseOid database);
    // Whether work came since it last asked.
    static bool take_http_wanted(DatabaseOid database);
    // False if work came in the meantime: do not exit.
    static bool detach_http_worker_if_idle(DatabaseOid database);
    static Pid http_worker_pid(DatabaseOid database);
};

}  // namespace securatlas::pg
