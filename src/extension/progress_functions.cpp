// SQL functions about the progress of long work: for SQL that is long, and behind
// cron_stat.progress.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/net/visible_hosts.hpp"
#include "securatlas/pg/shared/progress.hpp"

extern "C" {
#include "funcapi.h"
#include "utils/tuplestore.h"
}

namespace pg = securatlas::pg;
namespace ext = securatlas::extension;
namespace progress = securatlas::pg::progress;

namespace {

// C world.
void put_row(FunctionCallInfo fcinfo, const progress::Row& row) {
    const auto* result = reinterpret_cast<const ReturnSetInfo*>(fcinfo->resultinfo);
    Datum values[] = {Int32GetDatum(row.pid),
                      ObjectIdGetDatum(row.database),
                      CStringGetTextDatum(row.work.data()),
                      CStringGetTextDatum(row.phase.data()),
                      Int64GetDatum(row.done),
                      Int64GetDatum(row.total),
                      TimestampTzGetDatum(pg::to_timestamp(row.started)),
                      Int64GetDatum(row.run)};
    bool nulls[] = {row.pid == 0, false, false, false, false, row.total < 0, false, row.run == 0};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_begin_work);
PG_FUNCTION_INFO_V1(securatlas_work_done);
PG_FUNCTION_INFO_V1(securatlas_progress);

PGDLLEXPORT Datum securatlas_begin_work(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        progress::begin(ext::text_argument(fcinfo, 0).value_or(""),
                        ext::text_argument(fcinfo, 1).value_or(""),
                        ext::bigint_argument(fcinfo, 2).value_or(progress::kUnknown));
        return BoolGetDatum(true);
    });
}

PGDLLEXPORT Datum securatlas_work_done(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return ext::entry_point([] {
        progress::advance(1);
        return BoolGetDatum(true);
    });
}

// Only those who may see all statistics see what others do.
PGDLLEXPORT Datum securatlas_progress(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        std::vector<progress::Row> rows;
        if (pg::may_see_all_statistics()) rows = progress::all();
        pg::call([&] {
            InitMaterializedSRF(fcinfo, 0);
            for (const progress::Row& row : rows) put_row(fcinfo, row);
        });
        return Datum{0};
    });
}

}  // extern "C"
