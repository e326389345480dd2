// SQL functions of schema net that manage secrets.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/pg/border/caller.hpp"
#include "securatlas/pg/net/secrets.hpp"

using securatlas::extension::entry_point;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_set_secret);
PG_FUNCTION_INFO_V1(securatlas_drop_secret);
PG_FUNCTION_INFO_V1(securatlas_grant_secret);
PG_FUNCTION_INFO_V1(securatlas_revoke_secret);

PGDLLEXPORT Datum securatlas_set_secret(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        pg::secrets::set(pg::calling_role(fcinfo), *ext::text_argument(fcinfo, 0),
                         *ext::text_argument(fcinfo, 1));
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_drop_secret(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return BoolGetDatum(
            pg::secrets::drop(pg::calling_role(fcinfo), *ext::text_argument(fcinfo, 0)));
    });
}

PGDLLEXPORT Datum securatlas_grant_secret(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        pg::secrets::grant(pg::calling_role(fcinfo), *ext::text_argument(fcinfo, 0),
                           PG_GETARG_OID(1));
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_revoke_secret(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return BoolGetDatum(pg::secrets::revoke(pg::calling_role(fcinfo),
                                                *ext::text_argument(fcinfo, 0), PG_GETARG_OID(1)));
    });
}

}  // extern "C"
