#include "securatlas/pg/shared/launch.hpp"

#include <cstring>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/names.hpp"

extern "C" {
#include "postmaster/bgworker.h"
}

namespace securatlas::pg {
namespace {

BackgroundWorker worker_definition(const char* type, const char* function, Datum argument) {
    BackgroundWorker worker;
    memset(&worker, 0, sizeof worker);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_main_arg = argument;
    worker.bgw_notify_pid = MyProcPid;
    snprintf(worker.bgw_library_name, sizeof worker.bgw_library_name, "securatlas_sched");
    snprintf(worker.bgw_function_name, sizeof worker.bgw_function_name, "%s", function);
    snprintf(worker.bgw_name, sizeof worker.bgw_name, "securatlas_sched %s", type);
    snprintf(worker.bgw_type, sizeof worker.bgw_type, "securatlas_sched %s", type);
    return worker;
}

std::optional<Launched> launch(BackgroundWorker worker) {
    BackgroundWorkerHandle* handle = call([&worker]() -> BackgroundWorkerHandle* {
        const MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
        BackgroundWorkerHandle* registered = nullptr;
        const bool done = RegisterDynamicBackgroundWorker(&worker, &registered);
        MemoryContextSwitchTo(before);
        return done ? registered : nullptr;
    });
    if (handle == nullptr) return std::nullopt;
    return Launched(handle);
}

}  // namespace

void Launched::Free::operator()(BackgroundWorkerHandle* handle) const { pfree(handle); }

Launched::State Launched::state() const {
    pid_t pid = 0;
    switch (GetBackgroundWorkerPid(handle_.get(), &pid)) {
        case BGWH_NOT_YET_STARTED:
            return State::starting;
        case BGWH_STARTED:
            return State::running;
        case BGWH_STOPPED:
        case BGWH_POSTMASTER_DIED:
            break;
    }
    return State::ended;
}

std::optional<Launched> launch_scheduler(DatabaseOid database) {
    return launch(
        worker_definition("scheduler", "securatlas_scheduler_main", ObjectIdGetDatum(database)));
}

std::optional<Launched> launch_http_worker(DatabaseOid database) {
    BackgroundWorker worker =
        worker_definition("http worker", "securatlas_http_worker_main", ObjectIdGetDatum(database));
    if (serves_as_pg_net()) {
        snprintf(worker.bgw_name, sizeof worker.bgw_name, "pg_net worker");
        snprintf(worker.bgw_type, sizeof worker.bgw_type, "pg_net worker");
    }
    return launch(worker);
}

std::optional<Launched> launch_job_worker(int slot, std::uint32_t generation) {
    BackgroundWorker worker =
        worker_definition("job worker", "securatlas_job_worker_main", Int32GetDatum(slot));
    static_assert(sizeof generation <= sizeof worker.bgw_extra);
    memcpy(worker.bgw_extra, &generation, sizeof generation);
    return launch(worker);
}

void register_launcher() {
    BackgroundWorker worker = worker_definition("launcher", "securatlas_launcher_main", Datum{0});
    worker.bgw_restart_time = 1;  // seconds
    worker.bgw_notify_pid = 0;
    RegisterBackgroundWorker(&worker);
}

JobWorkerArguments job_worker_arguments(std::uintptr_t main_argument) {
    JobWorkerArguments arguments{DatumGetInt32(main_argument), 0};
    memcpy(&arguments.generation, MyBgworkerEntry->bgw_extra, sizeof arguments.generation);
    return arguments;
}

}  // namespace securatlas::pg
