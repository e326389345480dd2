// Starting background workers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "securatlas/pg/shared/shared_state.hpp"

struct BackgroundWorkerHandle;  // PostgreSQL's

namespace securatlas::pg {

// A worker whose launch was requested, so that its state can be queried.
class Launched {
  public:
    enum class State { starting, running, ended };

    explicit Launched(BackgroundWorkerHandle* handle) : handle_(handle) {}
    State state() const;

  private:
    struct Free {
        void operator()(BackgroundWorkerHandle* handle) const;
    };
    std::unique_ptr<BackgroundWorkerHandle, Free> handle_;
};

// Request the launch of a worker. nullopt: the server has no worker slot left
// (max_worker_processes). The latch of this process is set when the worker starts and when it ends.
std::optional<Launched> launch_scheduler(DatabaseOid database);
std::optional<Launched> launch_http_worker(DatabaseOid database);
std::optional<Launched> launch_job_worker(int slot, std::uint32_t generation);

// Registers the launcher, which the postmaster keeps running; for _PG_init.
void register_launcher();

// The arguments of the entry points of workers.
struct JobWorkerArguments {
    int slot;
    std::uint32_t generation;
};
JobWorkerArguments job_worker_arguments(std::uintptr_t main_argument);

}  // namespace securatlas::pg
