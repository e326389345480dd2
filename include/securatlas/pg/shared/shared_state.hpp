// How the processes of the extension communicate through shared memory. Nothing in it has to
// survive a crash: it is rebuilt from the tables. One lock protects all of it; it is held for a few
// hundred nanoseconds, and never while waiting.
//
//   DatabaseTable  one entry for each database that has the extension: its scheduler, its http
//                  worker, and notices for them.
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

// An order that a worker executes, or for which a worker is being launched.
struct OrderInProgress {
    Order order;
    Pid pid;                   // 0 while the worker is being launched
    core::Instant started_at;  // of a run; kLongAgo until it has started
};

struct WorkerCounts {
    int busy = 0;
    int idle = 0;
    int limit = 0;
};

// The worker slots as a scheduler sees them. `owner` is always the database of the scheduler.
class WorkerTable {
  public:
    enum class Assignment {
        handed,     // a worker of the target has the order
        queued,     // so it has, but executes another one first
        enough,     // workers enough of the target are executing runs that are soon over
        reserved,   // slot() is reserved for a new worker, which the caller launches
        waiting,    // no slot is free; an idle worker of another target was asked to end
        full,       // all slots are busy; or, if none may be reserved, no worker of it is idle
        kept_free,  // no worker may be launched now: a scheduler has to be
        share,      // the role has used its share of the slots (core::may_have_slot)
        limit,      // the role uses as many slots as it may
        closed,     // the target's database is blocked (DatabaseTable::block())
    };
    struct Assigned {
        Assignment assignment;
        int slot = -1;
        std::uint32_t generation = 0;
    };

    // What may be done for an order beside giving it to an idle worker.
    struct Ways {
        bool queue = false;     // let it wait behind a short run
        bool reserve = true;    // reserve a slot for a new worker
        int limit = 0;          // of the slots that the role may use in all databases; 0: none
        core::Duration now{0};  // monotonic
    };
    static Assigned assign(DatabaseOid owner, const Target& target, const Order& order,
                           const Ways& ways);

    // What assign() would return now (`reserved` if a slot is free), without queueing or reserving
    // anything. For orders that are expensive to prepare.
    static Assignment room_for(DatabaseOid owner, const Target& target, int limit);

    // The server has no worker slot left (max_worker_processes): asks an idle worker of any target
    // to end.
    static void make_room();

    // The same for a scheduler, which must not wait for a worker that always has work: if none is
    // idle, the first worker that ends a run leaves, and until this instant (monotonic) no job
    // worker is launched. 0: the scheduler has its place.
    static void keep_room(core::Duration until);

    // Frees a reserved slot whose worker could not be launched. True if the slot was still
    // reserved.
    static bool release_reserved(int slot, std::uint32_t generation);

    // Appends the reports of ended orders to `reports`, and the runs that wait behind a run that is
    // not soon over, as ReturnedOrder. True if runs are left that wait in a queue: look again after
    // core::kSoon. If there is not enough memory, throws and collects none.
    static bool collect(DatabaseOid owner, core::Duration now, std::vector<WorkerReport>& reports);

    static std::vector<OrderInProgress> in_progress(DatabaseOid owner);
    static WorkerCounts counts(DatabaseOid owner);

    // Asks the worker of this run to cancel it. The owner is needed because run ids are unique
    // within a database only. `asked`: the run will not succeed. Any process may call it.
    enum class Cancelled { asked, too_late, no_worker_has_it };
    static Cancelled cancel(DatabaseOid owner, core::RunId run);

    // What a new scheduler finds in the slots of its database, atomically: orders in progress and
    // in queues, and reports that were not collected; it collects them. Reserved slots are freed:
    // whether their workers will come is not known, and one that does ends at once.
    struct Adopted {
        std::vector<OrderInProgress> in_progress;
        std::vector<WorkerReport> reports;
    };
    static Adopted adopt(DatabaseOid owner);
};

// The slot of a job worker, as the worker sees it.
class WorkerSlot {
  public:
    // Attaches to the slot that this worker was launched for; ends the process if the slot is no
    // longer reserved for it. From here on, however the process ends, its slot is released and an
    // unfinished order in it is reported as failed.
    static void attach(int slot, std::uint32_t generation);

    static Target target();
    static DatabaseOid owner();

    // Takes the next order; nullopt if there is none yet.
    static std::optional<Order> take_order();

    // True: the process must exit, because its slot is needed, or because it is overdue (idle for
    // too long) and has no order. An overdue worker whose report is not collected yet is woken when
    // it is.
    static bool leave(bool is_overdue);

    // Gives back an order that was not begun, for another worker of the target, and releases the
    // slot: the process must exit. False: the order was cancelled meanwhile, and this worker must
    // report that.
    static bool give_back();

    static void report_started(core::Instant at);
    // Sets the callback that is being called; nullopt: none.
    static void report_calling(std::optional<CallbackCall> call);
    // The runs that the worker has: the one in progress, and those that follow it, up to `most`.
    static std::vector<RunOrder> runs_ahead(std::size_t most);

    // Ends the order in progress; the worker gets the next one when the report is collected.
    static void report(const WorkerReport& report);
    // Ends a run that is recorded; the worker may go on at once. False: the ends before it have to
    // be collected first, so that it has to be reported by report().
    // `has_waited`: most of its time the run has slept, for the disk, for a lock or on purpose;
    // nullopt: this was not measured.
    static bool report_recorded(const RecordedEnd& end, std::optional<bool> has_waited);

    // Makes it too late to cancel the run. False: cancellation was requested before.
    static bool begin_end(core::RunId run);

    // Whether cancellation of this run was requested. Async-signal-safe.
    static bool cancel_requested(core::RunId run) noexcept;
};

// ---- databases -----------------------------------------------------------------------------

struct Notice {
    enum class Kind : std::int32_t {
        job_changed,
        run_requested,
        run_cancelled,
        callback_waiting,
        alert_waiting,
        purge_wanted,
    };
    Kind kind;
    // Of the job, of the run; callback_waiting: the role that made the requests; alert_waiting: the
    // role of the alert; purge_wanted (of responses): none.
    std::int64_t id;
};

// Notices for a scheduler since it last took them.
struct Notices {
    std::vector<Notice> notices;
    bool overflowed = false;       // notices were lost: look at everything
    bool check_extension = false;  // it may have been dropped
    bool http_wanted = false;      // there are requests, but no http worker
};

// The figures of cron.scheduler_status.
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
    // -- for any backend; these never throw, so that commit callbacks may call them
    static void want_scheduler(DatabaseOid database) noexcept;
    static void notify(DatabaseOid database, const Notice* notices, std::size_t count,
                       bool overflowed) noexcept;
    // Makes all schedulers look at everything.
    static void notify_everywhere() noexcept;
    // Responses to requests of these roles were committed and wait for their callbacks.
    static void notify_callbacks(DatabaseOid database, const std::vector<RoleOid>& roles) noexcept;
    static void notify_extension_changed(DatabaseOid database) noexcept;
    static void wake_http_worker(DatabaseOid database) noexcept;
    // Ends the http worker (SIGTERM), so that another one is started. False if there is none.
    static bool restart_http_worker(DatabaseOid database);

    // Ends all processes of the extension that are connected to a database or connecting to it, and
    // keeps others from connecting until unblock_all(). To be called
    // again while processes are left: it returns how many. At first they may finish what they are
    // doing; when they have been waited for, long runs get SIGTERM, and then whatever is left.
    static int block(DatabaseOid database, core::Duration waited);
    // All that this backend has blocked.
    static void unblock_all() noexcept;
    // The database does not exist any more: nothing is started for it, and all processes that work
    // for it are ended.
    static void forget(DatabaseOid database) noexcept;

    static std::optional<SchedulerStatus> status(DatabaseOid database);

    // -- the launcher
    static void attach_launcher();
    // Requests a scheduler for each database; returns those for which no entry is free.
    static std::vector<DatabaseOid> want_all(const std::vector<DatabaseOid>& databases);
    // True, once, if want_scheduler() found no free entry for a database.
    static bool take_overcrowded();
    // Databases that need a scheduler, are not blocked, and whose pause before a restart is over.
    static std::vector<DatabaseOid> to_start();
    static void set_starting(DatabaseOid database);
    static void start_failed(DatabaseOid database);
    // The server has no room for it at present: to be started again after this pause.
    static void start_later(DatabaseOid database, core::Duration pause);
    static bool scheduler_is_running(DatabaseOid database);
    // When the pause of the next database ends that waits for the restart of its scheduler.
    static std::optional<core::Instant> next_start();
    // The database whose http worker the launcher keeps running; 0: none. The former one's leaves
    // when it is idle.
    static void keep_http_worker(DatabaseOid database);
    // Whether that one is not there, and may be started.
    static bool kept_http_worker_is_missing();

    // -- the scheduler
    // Before the connection is made, so that block() knows of this process. False if the database
    // has a scheduler already, is blocked, or does not exist any more.
    static bool attach_scheduler(DatabaseOid database);
    // To be called before looking for the extension: whoever requests a scheduler from here on may
    // have created it.
    static void begin_look(DatabaseOid database);
    // The scheduler found no extension and ends, as do all processes that work for the database but
    // an http worker that is kept. The entry is freed, unless it has one, or a scheduler was
    // requested since begin_look(), or `again` says that the extension was created again: then a
    // new scheduler is started.
    static void detach_scheduler(DatabaseOid database, bool again);
    // What workers are doing for this database's scheduler is of no interest to anybody any more.
    static void abandon_orders(DatabaseOid database);
    static Notices take_notices(DatabaseOid database);
    static void publish(DatabaseOid database, const SchedulerStatus& status);

    // -- the http worker
    // As attach_scheduler().
    static bool attach_http_worker(DatabaseOid database);
    // There is nothing to do in this database for any http worker.
    static void detach_http_worker(DatabaseOid database) noexcept;
    // Whether requests came since this was last called.
    static bool take_http_wanted(DatabaseOid database);
    // Detaches an idle http worker. False if requests came in the meantime: it must go on.
    static bool detach_http_worker_if_idle(DatabaseOid database);
    static Pid http_worker_pid(DatabaseOid database);
    // Whether the launcher starts it, and it stays when there is nothing to do.
    static bool http_worker_is_kept(DatabaseOid database);
};

}  // namespace securatlas::pg
