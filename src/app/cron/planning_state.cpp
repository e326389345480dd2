#include "cron/planning_state.hpp"

#include <string>

#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::app {
namespace {

void move_jobs_here(const pg::runs::PlanningState& state) {
    const std::string name = pg::current_database_name();
    if (!state.former_name.empty()) pg::jobs::move_database(state.former_name, name, {});
    if (state.copied_from.empty()) return;
    // Rows that were loaded past the triggers have the roles' numbers of another cluster.
    if (!state.original_exists) pg::jobs::bind_roles_by_name();
    if (state.copied_from == name) return;
    // The original goes on with these jobs itself, if it is still there.
    const std::string note = state.original_exists
                                 ? "paused: this database is a copy of \"" + state.copied_from +
                                       "\", which runs the job; cron.resume() runs it here too"
                                 : std::string();
    pg::jobs::move_database(state.copied_from, name, note);
}

}  // namespace

std::optional<core::Instant> settle_planning_state(core::Instant now) {
    const pg::runs::PlanningState state = pg::runs::read_planning_state();
    move_jobs_here(state);
    const auto planned_until =
        state.planned_until ? state.planned_until : state.copied_planned_until;
    pg::runs::reset_planning_state(planned_until.value_or(now));
    return planned_until;
}

void settle_restored_state(core::Instant planned_until) {
    const pg::runs::PlanningState state = pg::runs::read_planning_state();
    if (state.copied_from.empty()) return;
    move_jobs_here(state);
    pg::runs::reset_planning_state(planned_until);
}

}  // namespace securatlas::app
