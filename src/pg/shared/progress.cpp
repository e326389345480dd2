// Rows in shared memory. One lock protects all of them; only `done` is atomic, because it is
// increased often, by the process that has the row.
#include "securatlas/pg/shared/progress.hpp"

#include <atomic>
#include <utility>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"
#include "shared/progress_segment.hpp"

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
}

namespace securatlas::pg {
namespace {

constexpr const char* kName = "securatlas_sched progress";
// As pg_stat_activity shows who waits for it.
constexpr const char* kTranche = "CronProgress";
constexpr std::size_t kRows = 128;
// Runs whose requests end in one transaction; more are not counted.
constexpr std::size_t kRunsAtOnce = 16;

struct Shared {
    bool is_used;
    progress::Row row;  // but for `done`
    std::atomic<std::int64_t> done;
};

struct Segment {
    LWLock* lock;
    std::atomic<int> runs;  // rows of requests
    Shared rows[kRows];
};
constinit Segment* segment = nullptr;

// Of this process.
struct Own {
    bool registered = false;
    Shared* rows[static_cast<std::size_t>(progress::Kind::count)] = {};
    SubTransactionId in = InvalidSubTransactionId;
    std::size_t run_count = 0;
    std::pair<std::int64_t, std::int64_t> ended[kRunsAtOnce] = {};  // run, requests
};
constinit Own own;

Shared*& own_row(progress::Kind kind) { return own.rows[static_cast<std::size_t>(kind)]; }

class Locked {
  public:
    Locked() { LWLockAcquire(segment->lock, LW_EXCLUSIVE); }
    ~Locked() { LWLockRelease(segment->lock); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
};

// With the lock.
Shared* free_row() {
    for (Shared& row : segment->rows) {
        if (!row.is_used) return &row;
    }
    return nullptr;
}

Shared* row_of_run(DatabaseOid database, std::int64_t run) {
    for (Shared& row : segment->rows) {
        if (row.is_used && row.row.pid == 0 && row.row.database == database && row.row.run == run) {
            return &row;
        }
    }
    return nullptr;
}

void take(Shared& row, const progress::Row& content) {
    row.is_used = true;
    row.row = content;
    row.done.store(content.done, std::memory_order_relaxed);
}

void release_run(Shared& row) {
    row.is_used = false;
    segment->runs.fetch_sub(1, std::memory_order_relaxed);
}

// The text may be of a database with another encoding than the reader's.
void set_text(std::array<char, 32>& to, std::string_view from) {
    assign_text(to, from);
    for (char& c : to) {
        if (c != '\0' && (c < ' ' || c > '~')) c = '?';
    }
}

void count_ended() noexcept {
    if (own.run_count == 0 || segment == nullptr) return;
    const Locked locked;
    for (std::size_t i = 0; i < own.run_count; ++i) {
        Shared* row = row_of_run(MyDatabaseId, own.ended[i].first);
        if (row == nullptr) continue;
        const std::int64_t done = row->done.fetch_add(own.ended[i].second) + own.ended[i].second;
        if (done >= row->row.total) release_run(*row);
    }
}

extern "C" void securatlas_progress_at_exit(int, Datum) {
    using enum progress::Kind;
    for (const auto kind : {of_transaction, history_purge, response_purge}) progress::end(kind);
}

extern "C" void securatlas_progress_at_transaction_end(XactEvent event, void*) {
    if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE) {
        return;
    }
    if (event == XACT_EVENT_COMMIT) count_ended();
    own.run_count = 0;
    progress::end(progress::Kind::of_transaction);
}

extern "C" void securatlas_progress_at_subtransaction_end(SubXactEvent event,
                                                          SubTransactionId aborted,
                                                          SubTransactionId, void*) {
    if (event != SUBXACT_EVENT_ABORT_SUB || own.in < aborted) return;
    progress::end(progress::Kind::of_transaction);
}

void register_once() {
    if (own.registered) return;
    call([] {
        RegisterXactCallback(securatlas_progress_at_transaction_end, nullptr);
        RegisterSubXactCallback(securatlas_progress_at_subtransaction_end, nullptr);
        before_shmem_exit(securatlas_progress_at_exit, 0);
    });
    own.registered = true;
}

}  // namespace

void request_progress_segment() {
    RequestAddinShmemSpace(sizeof(Segment));
    RequestNamedLWLockTranche(kTranche, 1);
}

void start_progress_segment() {
    bool found = false;
    segment = static_cast<Segment*>(ShmemInitStruct(kName, sizeof(Segment), &found));
    if (found) return;
    memset(static_cast<void*>(segment), 0, sizeof(Segment));
    segment->lock = &GetNamedLWLockTranche(kTranche)->lock;
}

namespace progress {

void begin(std::string_view work, std::string_view phase, std::int64_t total, Kind kind) {
    if (segment == nullptr) return;
    register_once();
    Row row;
    row.database = MyDatabaseId;
    row.pid = MyProcPid;
    row.total = total;
    row.started = now();
    set_text(row.work, work);
    set_text(row.phase, phase);
    if (kind == Kind::of_transaction) own.in = call([] { return GetCurrentSubTransactionId(); });
    Shared*& place = own_row(kind);
    const Locked locked;
    if (place == nullptr) place = free_row();
    if (place != nullptr) take(*place, row);
}

void advance(std::int64_t amount, Kind kind) noexcept {
    Shared* row = own_row(kind);
    if (row != nullptr) row->done.fetch_add(amount, std::memory_order_relaxed);
}

void end(Kind kind) noexcept {
    if (own_row(kind) == nullptr) return;
    const Locked locked;
    std::exchange(own_row(kind), nullptr)->is_used = false;
}

void requests_made(DatabaseOid database, std::int64_t run, std::int64_t count) noexcept {
    if (segment == nullptr || run == 0) return;
    if (count < kLong && segment->runs.load(std::memory_order_relaxed) == 0) return;
    const Locked locked;
    Shared* row = row_of_run(database, run);
    if (row != nullptr) {
        row->row.total += count;
        return;
    }
    if (count < kLong) return;
    row = free_row();
    if (row == nullptr) return;
    Row content;
    content.database = database;
    content.run = run;
    content.total = count;
    content.started = now();
    set_text(content.work, "requests of a run");
    set_text(content.phase, "sending");
    take(*row, content);
    segment->runs.fetch_add(1, std::memory_order_relaxed);
}

void request_ended(std::int64_t run) {
    if (segment == nullptr || segment->runs.load(std::memory_order_relaxed) == 0) return;
    register_once();
    for (std::size_t i = 0; i < own.run_count; ++i) {
        if (own.ended[i].first != run) continue;
        ++own.ended[i].second;
        return;
    }
    if (own.run_count < kRunsAtOnce) own.ended[own.run_count++] = {run, 1};
}

void forget_requests(DatabaseOid database) noexcept {
    if (segment == nullptr || segment->runs.load(std::memory_order_relaxed) == 0) return;
    const Locked locked;
    for (Shared& row : segment->rows) {
        if (row.is_used && row.row.pid == 0 && row.row.database == database) release_run(row);
    }
}

std::vector<Row> all() {
    (void)require_shared_state();
    std::vector<Row> rows;
    rows.reserve(kRows);  // no allocation under the lock
    const Locked locked;
    for (const Shared& shared : segment->rows) {
        if (!shared.is_used) continue;
        Row& row = rows.emplace_back(shared.row);
        row.done = shared.done.load(std::memory_order_relaxed);
    }
    return rows;
}

}  // namespace progress
}  // namespace securatlas::pg
