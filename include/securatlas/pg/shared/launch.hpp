// Starting background workers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "securatlas/pg/shared/shared_state.hpp"

struct BackgroundWorkerHandle;  // PostgreSQL's

namespace securatlas::pg {

// A worker that was asked for. A process asks about it as long as it cares.
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

// nullopt: the server has no worker slot left (max_worker_processes). This process' latch is set
// when the worker starts and when it ends.
std::optional<Launched> launch_scheduler(DatabaseOid database);
std::optional<Launched> launch_http_worker(DatabaseOid database);
std::optional<Launched> launch_job_worker(int slot, std::uint32_t generation);

// The launcher, which the postmaster keeps running. For _PG_init.
void register_launcher();

// What the entry points of workers are given.
struct JobWorkerArguments {
    int slot;
    std::uint32_t generation;
};
JobWorkerArguments job_worker_arguments(std::uintptr_t main_argument);

}  // namespace securatlas::pg
