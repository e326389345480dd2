// SQL functions of schema cron that manage jobs: they convert arguments and results; src/app does
// the rest.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/app/cron/manage_jobs.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

using securatlas::app::JobName;
using securatlas::extension::entry_point;
namespace app = securatlas::app;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

Datum void_datum() { return Datum{0}; }

// The first argument: an id, or a name.
JobName by_id(FunctionCallInfo fcinfo) { return ext::bigint_argument(fcinfo, 0); }
JobName by_name(FunctionCallInfo fcinfo) { return ext::text_argument(fcinfo, 0); }

// NULL becomes 0: no role.
pg::RoleOid role_argument(FunctionCallInfo fcinfo) {
    return PG_ARGISNULL(0) ? pg::RoleOid{0} : PG_GETARG_OID(0);
}

Datum unschedule(const JobName& job) {
    app::unschedule_job(job);
    return BoolGetDatum(true);
}

Datum pause(const JobName& job, FunctionCallInfo fcinfo) {
    app::pause_job(job, ext::text_argument(fcinfo, 1));
    return void_datum();
}

Datum resume(const JobName& job) {
    app::resume_job(job);
    return void_datum();
}

pg::jobs::Changes rule_arguments(FunctionCallInfo fcinfo) {
    pg::jobs::Changes changes;
    changes.timezone = ext::text_argument(fcinfo, 1);
    changes.max_runtime = ext::interval_argument(fcinfo, 2);
    changes.max_retries = ext::int_argument(fcinfo, 3);
    changes.retry_period = ext::interval_argument(fcinfo, 4);
    changes.overlap = ext::text_argument(fcinfo, 5);
    changes.missed = ext::text_argument(fcinfo, 6);
    changes.catchup_window = ext::interval_argument(fcinfo, 7);
    changes.jitter = ext::interval_argument(fcinfo, 8);
    changes.max_failures = ext::int_argument(fcinfo, 9);
    changes.log_runs = ext::text_argument(fcinfo, 10);
    changes.priority = ext::int_argument(fcinfo, 13);
    return changes;
}

Datum configure(const JobName& job, FunctionCallInfo fcinfo) {
    app::configure_job(job, rule_arguments(fcinfo),
                       {.on_failure = ext::text_argument(fcinfo, 11),
                        .on_success = ext::text_argument(fcinfo, 12)});
    return void_datum();
}

Datum reset(const JobName& job, FunctionCallInfo fcinfo) {
    app::reset_job_rules(job, ext::texts_argument(fcinfo, 1));
    return void_datum();
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_schedule);
PG_FUNCTION_INFO_V1(securatlas_schedule_named);
PG_FUNCTION_INFO_V1(securatlas_schedule_in_database);
PG_FUNCTION_INFO_V1(securatlas_schedule_once);
PG_FUNCTION_INFO_V1(securatlas_alter_job);
PG_FUNCTION_INFO_V1(securatlas_unschedule);
PG_FUNCTION_INFO_V1(securatlas_unschedule_named);
PG_FUNCTION_INFO_V1(securatlas_configure_job);
PG_FUNCTION_INFO_V1(securatlas_configure_job_named);
PG_FUNCTION_INFO_V1(securatlas_reset_job_rules);
PG_FUNCTION_INFO_V1(securatlas_reset_job_rules_named);
PG_FUNCTION_INFO_V1(securatlas_run_job);
PG_FUNCTION_INFO_V1(securatlas_run_job_named);
PG_FUNCTION_INFO_V1(securatlas_cancel_run);
PG_FUNCTION_INFO_V1(securatlas_pause);
PG_FUNCTION_INFO_V1(securatlas_pause_named);
PG_FUNCTION_INFO_V1(securatlas_resume);
PG_FUNCTION_INFO_V1(securatlas_resume_named);
PG_FUNCTION_INFO_V1(securatlas_run_after);
PG_FUNCTION_INFO_V1(securatlas_remove_run_after);
PG_FUNCTION_INFO_V1(securatlas_may_manage);
PG_FUNCTION_INFO_V1(securatlas_may_see);
PG_FUNCTION_INFO_V1(securatlas_role_named);
PG_FUNCTION_INFO_V1(securatlas_start_scheduler);

PGDLLEXPORT Datum securatlas_schedule(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return Int64GetDatum(app::schedule_job({.name = {},
                                                .schedule = ext::text_argument(fcinfo, 0),
                                                .command = ext::text_argument(fcinfo, 1),
                                                .database = {},
                                                .username = {},
                                                .active = true,
                                                .named = false}));
    });
}

PGDLLEXPORT Datum securatlas_schedule_named(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return Int64GetDatum(app::schedule_job({.name = ext::text_argument(fcinfo, 0),
                                                .schedule = ext::text_argument(fcinfo, 1),
                                                .command = ext::text_argument(fcinfo, 2),
                                                .database = {},
                                                .username = {},
                                                .active = true}));
    });
}

PGDLLEXPORT Datum securatlas_schedule_in_database(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return Int64GetDatum(app::schedule_job({.name = ext::text_argument(fcinfo, 0),
                                                .schedule = ext::text_argument(fcinfo, 1),
                                                .command = ext::text_argument(fcinfo, 2),
                                                .database = ext::text_argument(fcinfo, 3),
                                                .username = ext::text_argument(fcinfo, 4),
                                                .active = ext::bool_argument(fcinfo, 5),
                                                .in_database = true}));
    });
}

PGDLLEXPORT Datum securatlas_schedule_once(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return Int64GetDatum(app::schedule_job_once(ext::text_argument(fcinfo, 0),
                                                    ext::instant_argument(fcinfo, 1),
                                                    ext::text_argument(fcinfo, 2)));
    });
}

PGDLLEXPORT Datum securatlas_alter_job(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        app::alter_job({.job = ext::bigint_argument(fcinfo, 0),
                        .schedule = ext::text_argument(fcinfo, 1),
                        .command = ext::text_argument(fcinfo, 2),
                        .database = ext::text_argument(fcinfo, 3),
                        .username = ext::text_argument(fcinfo, 4),
                        .active = ext::bool_argument(fcinfo, 5)});
        return void_datum();
    });
}

PGDLLEXPORT Datum securatlas_unschedule(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return unschedule(by_id(fcinfo)); });
}

PGDLLEXPORT Datum securatlas_unschedule_named(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return unschedule(by_name(fcinfo)); });
}

PGDLLEXPORT Datum securatlas_configure_job(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return configure(by_id(fcinfo), fcinfo); });
}

PGDLLEXPORT Datum securatlas_configure_job_named(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return configure(by_name(fcinfo), fcinfo); });
}

PGDLLEXPORT Datum securatlas_reset_job_rules(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return reset(by_id(fcinfo), fcinfo); });
}

PGDLLEXPORT Datum securatlas_reset_job_rules_named(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return reset(by_name(fcinfo), fcinfo); });
}

PGDLLEXPORT Datum securatlas_run_job(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return Int64GetDatum(app::run_job(by_id(fcinfo))); });
}

PGDLLEXPORT Datum securatlas_run_job_named(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return Int64GetDatum(app::run_job(by_name(fcinfo))); });
}

PGDLLEXPORT Datum securatlas_cancel_run(PG_FUNCTION_ARGS) {
    return entry_point(
        [fcinfo] { return BoolGetDatum(app::cancel_run(ext::bigint_argument(fcinfo, 0))); });
}

PGDLLEXPORT Datum securatlas_pause(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return pause(by_id(fcinfo), fcinfo); });
}

PGDLLEXPORT Datum securatlas_pause_named(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return pause(by_name(fcinfo), fcinfo); });
}

PGDLLEXPORT Datum securatlas_resume(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return resume(by_id(fcinfo)); });
}

PGDLLEXPORT Datum securatlas_resume_named(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return resume(by_name(fcinfo)); });
}

PGDLLEXPORT Datum securatlas_run_after(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        app::run_after(ext::text_argument(fcinfo, 0), ext::text_argument(fcinfo, 1),
                       ext::text_argument(fcinfo, 2));
        return void_datum();
    });
}

PGDLLEXPORT Datum securatlas_remove_run_after(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        app::remove_run_after(ext::text_argument(fcinfo, 0), ext::text_argument(fcinfo, 1));
        return void_datum();
    });
}

PGDLLEXPORT Datum securatlas_may_manage(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return BoolGetDatum(pg::may_manage(role_argument(fcinfo))); });
}

PGDLLEXPORT Datum securatlas_may_see(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return BoolGetDatum(pg::may_see(role_argument(fcinfo))); });
}

PGDLLEXPORT Datum securatlas_role_named(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        const auto role = pg::find_role(*ext::text_argument(fcinfo, 0));
        if (!role) fcinfo->isnull = true;
        return ObjectIdGetDatum(role.value_or(0));
    });
}

PGDLLEXPORT Datum securatlas_start_scheduler(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry_point([] {
        pg::at_commit::want_scheduler(pg::current_database());
        pg::at_commit::extension_changed();  // a running scheduler has to notice the new schema
        return void_datum();
    });
}

}  // extern "C"
