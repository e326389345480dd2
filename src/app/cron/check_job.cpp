#include "securatlas/app/cron/check_job.hpp"

#include <algorithm>

#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/replication.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/schedules.hpp"

namespace securatlas::app {
namespace {

using pg::jobs::WrittenJob;

// Limited, because the scheduler copies the command into the history for each run.
constexpr std::size_t kLongestCommand = 10'000'000;

void pause(WrittenJob& job, const std::string& why) {
    if (!job.flag("active")) return;
    job.set_flag("active", false);
    job.set("note", core::reasons::paused_because(why));
    pg::write_log(pg::LogLevel::warning,
                  "job " + std::to_string(job.id()) + " of cron.job is paused: " + why);
}

// A job belongs to a role, not to a role name. The name is used to look up the role when it is
// written, and in replicated rows, whose roleid is an oid of another cluster.
void settle_role(WrittenJob& job, bool replicated) {
    const std::string name = job.text("username");
    const auto find_by_name = [&] { job.set_role(pg::find_role(name).value_or(0)); };
    const auto require_role = [&] {
        const auto found = pg::role_name(job.role());
        if (found) return *found;
        throw pg::Error("42704", "role \"" + name + "\" does not exist", "",
                        "Give the job to another role with cron.alter_job().");
    };
    if (replicated || job.is_new()) {
        find_by_name();
    } else if (job.role_differs()) {
        if (job.role() != 0) job.set("username", require_role());
    } else if (job.text_differs("username")) {
        find_by_name();
    } else {
        if (!job.resumed()) return;
        if (job.role() == 0) find_by_name();
        require_role();
    }
    if (job.role() != 0 || name.empty()) return;
    pause(job, "role \"" + name +
                   "\" does not exist. Create it, or give the job to another role with "
                   "cron.alter_job(); then call cron.resume().");
}

// The instant of "@at" belongs to the job even if it has passed: the job's `missed` rule decides
// about it.
core::Instant not_after_only_instant(const core::Schedule& schedule, core::Instant planned_from) {
    if (schedule.kind() != core::ScheduleKind::at) return planned_from;
    const core::Instant only = std::get<core::Schedule::At>(schedule.body()).instant;
    return (std::min)(planned_from, only - core::Duration(1));
}

// A job whose schedule has changed, or that is resumed, is planned from now on. `keeps`: a row with
// an invalid schedule is kept and paused.
void settle_schedule(WrittenJob& job, bool keeps) {
    const bool plans_anew = job.resumed() || job.taken_over() || job.text_differs("schedule") ||
                            job.text_differs("timezone");
    if (!plans_anew) return;
    core::Instant from = job.is_new() ? job.planned_from() : pg::now();
    // The schedule of a job that is being paused may be invalid.
    if (job.is_new() || job.flag("active")) {
        try {
            const auto zoned = pg::read_schedule(job.text("schedule"), job.text("timezone"));
            from = not_after_only_instant(*zoned.schedule, from);
        } catch (const pg::Error& error) {
            if (!keeps || !pg::is_no_schedule(error)) throw;
            pause(job, pg::schedule_problem(error));
        }
    }
    job.set_planned_from(from);
}

void check_length(WrittenJob& job, bool keeps) {
    if (!job.text_differs("command") || job.text("command").size() <= kLongestCommand) return;
    const pg::Error error("54000", "command is too long",
                          "It must have at most " + std::to_string(kLongestCommand) + " bytes.",
                          "Put its statements into a function, and call that.");
    if (!keeps) throw error;
    pause(job, error.message() + ". " + error.hint());
}

}  // namespace

void check_job(WrittenJob& job) {
    const bool replicated = pg::is_replicated_change();
    // A dump is restored, or another table is copied: every row is accepted, and a job that cannot
    // run
    // is paused with a note.
    const bool keeps = pg::is_loading() || (job.is_new() && !pg::is_own_change());
    if (replicated) job.set_flag("replicated", true);
    check_length(job, keeps);
    if (!pg::jobs::is_following_roles()) settle_role(job, replicated);
    settle_schedule(job, keeps);
}

}  // namespace securatlas::app
