// The trigger on the queue: requests that were taken out of it.
#include "entry_point.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

extern "C" {
#include "commands/trigger.h"
}

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_requests_removed);

PGDLLEXPORT Datum securatlas_requests_removed(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] {
        if (!CALLED_AS_TRIGGER(fcinfo)) {
            throw securatlas::pg::Error("39P01", "the function can only be called as a trigger");
        }
        securatlas::pg::at_commit::requests_removed();
        return Datum{0};
    });
}

}  // extern "C"
