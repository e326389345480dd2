// Executes a run's command in this process, and records its outcome in the command's transaction.
#pragma once

#include <functional>

#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

// For a process that executes runs: call once, after it has connected.
void prepare_for_commands();

// Executes the run at top level, as the session's role, like a query of the simple protocol:
// several statements are one implicit transaction, and BEGIN, COMMIT, VACUUM and CALL work. Success
// is recorded in the last transaction that commits, a failure in a transaction of its own.
// report.recorded is false if neither was possible. Throws only errors that should end the process.
RunReport execute_run(const RunOrder& order, const runs::Task& task);

// The report of a run that was not executed, because `error` happened before.
RunReport failed_report(const RunOrder& order, const std::exception& error);

// Does what DISCARD ALL does, so that a run leaves nothing for the next one, except for the plan
// cache, which does not affect results. In a transaction of its own, in which it does `then` as
// well.
void reset_session(const std::function<void()>& then = {});

// The run that this process executes; nullptr outside of a run.
struct CurrentRun {
    RunOrder order;
    std::string job_name;
};
const CurrentRun* current_run();

}  // namespace securatlas::pg
