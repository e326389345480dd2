#include "securatlas/pg/shared/shared_memory.hpp"

#include <new>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/waits.hpp"
#include "shared/progress_segment.hpp"
#include "shared/statistics_segment.hpp"

extern "C" {
#include "storage/ipc.h"
#include "storage/shmem.h"
}

namespace securatlas::pg {
namespace {

constexpr const char* kName = "securatlas_sched";
// As pg_stat_activity shows who waits for one.
constexpr const char* kLock = "CronState";
constexpr const char* kHttpLock = "NetState";

// How this process is attached to the segment.
struct Attachment {
    const int* slot_count = nullptr;
    SharedState* state = nullptr;
    shmem_request_hook_type next_request = nullptr;
    shmem_startup_hook_type next_startup = nullptr;
};
constinit Attachment attachment;

std::size_t segment_size() {
    const auto slots = static_cast<std::size_t>(*attachment.slot_count);
    return offsetof(SharedState, slots) + slots * sizeof(WorkerSlotState);
}

void request() {
    if (attachment.next_request != nullptr) attachment.next_request();
    RequestAddinShmemSpace(segment_size());
    RequestNamedLWLockTranche(kLock, 1);
    RequestNamedLWLockTranche(kHttpLock, 1);
    request_statistics_segment();
    request_progress_segment();
}

void startup() {
    if (attachment.next_startup != nullptr) attachment.next_startup();
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    bool found = false;
    auto* state = static_cast<SharedState*>(ShmemInitStruct(kName, segment_size(), &found));
    if (!found) {
        memset(static_cast<void*>(state), 0, segment_size());
        state->lock = &GetNamedLWLockTranche(kLock)->lock;
        state->http.lock = &GetNamedLWLockTranche(kHttpLock)->lock;
        ConditionVariableInit(&state->http.recorded);
        state->slot_count = *attachment.slot_count;
        for (int i = 0; i < state->slot_count; ++i) {
            new (static_cast<void*>(&state->slots[i])) WorkerSlotState{};
        }
    }
    start_statistics_segment();
    start_progress_segment();
    attachment.state = state;
    LWLockRelease(AddinShmemInitLock);
    name_waits();
}

}  // namespace

void request_shared_memory(const int* slot_count) {
    attachment.slot_count = slot_count;
    attachment.next_request = shmem_request_hook;
    shmem_request_hook = request;
    attachment.next_startup = shmem_startup_hook;
    shmem_startup_hook = startup;
}

SharedState* shared_state() noexcept { return attachment.state; }

SharedState& require_shared_state() {
    if (attachment.state == nullptr) {
        throw Error("55000", "library \"securatlas_sched\" is not loaded by the server", "",
                    "Add it to postgresql.conf, as in shared_preload_libraries = "
                    "'securatlas_sched', and restart the server.");
    }
    return *attachment.state;
}

DatabaseState* find_database(SharedState& state, DatabaseOid database) noexcept {
    for (DatabaseState& entry : state.databases) {
        if (entry.database == database) return &entry;
    }
    return nullptr;
}

void wake_scheduler(SharedState& state, DatabaseOid owner) noexcept {
    if (owner == 0) return;
    DatabaseState* entry = find_database(state, owner);
    if (entry != nullptr) entry->scheduler_bell.ring();
}

}  // namespace securatlas::pg
