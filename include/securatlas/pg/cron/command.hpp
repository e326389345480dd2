// Executes a run's command in this process, and makes its outcome part of its transaction.
#pragma once

#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

// For a process that executes runs; once, after it has connected.
void prepare_for_commands();

// Executes the run at top level, as the session's role, like one simple query: several statements
// are one implicit transaction, and BEGIN, COMMIT, VACUUM and CALL work. The outcome is recorded in
// the transaction that commits last; a failure in one of its own. report.recorded is false if that
// was not possible. Throws only what ends the process.
RunReport execute_run(const RunOrder& order, const runs::Task& task);

// The report of a run that is not executed, because `error` happened before.
RunReport failed_report(const RunOrder& order, const std::exception& error);

// Leaves nothing of a run for the next: what DISCARD ALL does, but for cached plans, which are no
// state.
void reset_session();

// The run that this process executes; nullptr outside of a run.
struct CurrentRun {
    RunOrder order;
    std::string job_name;
};
const CurrentRun* current_run();

}  // namespace securatlas::pg
