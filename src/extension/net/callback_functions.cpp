// SQL functions of schema net that manage callbacks.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/pg/net/callbacks.hpp"

using securatlas::extension::entry_point;
namespace pg = securatlas::pg;

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_repeat_callback);

PGDLLEXPORT Datum securatlas_repeat_callback(PG_FUNCTION_ARGS) {
    return entry_point(
        [fcinfo] { return BoolGetDatum(pg::callbacks::repeat(PG_GETARG_INT64(0))); });
}

}  // extern "C"
