// SQL functions of schema net that manage callbacks.
#include "arguments.hpp"
#include "securatlas/pg/net/callbacks.hpp"

using securatlas::pg::entry;
namespace pg = securatlas::pg;

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_repeat_callback);

PGDLLEXPORT Datum securatlas_repeat_callback(PG_FUNCTION_ARGS) {
    return entry([fcinfo] { return BoolGetDatum(pg::callbacks::repeat(PG_GETARG_INT64(0))); });
}

}  // extern "C"
