#include "cron/planning_state.hpp"

#include <string>

#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::app {
namespace {

// Returns the jobs whose rows are locked.
std::vector<std::int64_t> move_jobs_here(const pg::runs::PlanningState& state) {
    const std::string name = pg::current_database_name();
    std::vector<std::int64_t> locked;
    const auto add = [&locked](const std::vector<std::int64_t>& jobs) {
        locked.insert(locked.end(), jobs.begin(), jobs.end());
    };
    if (!state.former_name.empty()) add(pg::jobs::move_database(state.former_name, name, {}));
    if (state.copied_from.empty()) return locked;
    // Rows loaded with the triggers disabled have role oids of another cluster.
    if (!state.original_exists) add(pg::jobs::bind_roles_by_name());
    if (state.copied_from == name) return locked;
    // The original goes on with these jobs itself, if it is still there.
    const std::string note = state.original_exists
                                 ? "paused: this database is a copy of \"" + state.copied_from +
                                       "\", which runs the job; cron.resume() runs it here too"
                                 : std::string();
    add(pg::jobs::move_database(state.copied_from, name, note));
    return locked;
}

}  // namespace

PlanningStart settle_planning_state(core::Instant now) {
    const pg::runs::PlanningState state = pg::runs::read_planning_state();
    PlanningStart start;
    start.planned_until = state.planned_until ? state.planned_until : state.copied_planned_until;
    start.is_settled = state.is_settled;
    if (state.is_settled) return start;
    const core::Instant planned_until = start.planned_until.value_or(now);
    start.locked_jobs = move_jobs_here(state);
    // The state is kept until all jobs are moved, because it says from which database to move them.
    if (start.locked_jobs.empty()) {
        start.is_settled = pg::runs::reset_planning_state(planned_until);
    } else if (!state.planned_until) {
        pg::runs::set_planned_until(planned_until);
    }
    return start;
}

}  // namespace securatlas::app
