// Triggers on the tables of requests and responses: what users take out of them.
#include "entry_point.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/net/row_owners.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

extern "C" {
#include "commands/trigger.h"
#include "utils/rel.h"
}

namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

void require_trigger(FunctionCallInfo fcinfo) {
    if (CALLED_AS_TRIGGER(fcinfo)) return;
    throw pg::Error("39P01", "the function can only be called as a trigger");
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_requests_removed);
PG_FUNCTION_INFO_V1(securatlas_truncate_check);

PGDLLEXPORT Datum securatlas_requests_removed(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        require_trigger(fcinfo);
        pg::at_commit::requests_removed();
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_truncate_check(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        require_trigger(fcinfo);
        const auto* trigger = reinterpret_cast<const TriggerData*>(fcinfo->context);
        pg::requests::require_own_rows(RelationGetRelid(trigger->tg_relation));
        return Datum{0};
    });
}

}  // extern "C"
