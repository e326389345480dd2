// C world. What ALTER ROLE ... SET and ALTER DATABASE ... SET have stored.
#pragma once

#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_db_role_setting.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
}

namespace securatlas::pg {

// Calls use(array) with the settings that are stored for exactly this database and role (0: for all
// of them), if there are any; `catalog` is pg_db_role_setting, opened.
template <class F>
void use_stored_settings(Relation catalog, Oid database, Oid role, F&& use) {
    ScanKeyData keys[2];
    ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(database));
    ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(role));
    SysScanDesc scan =
        systable_beginscan(catalog, DbRoleSettingDatidRolidIndexId, true, nullptr, 2, keys);
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        bool is_null = false;
        const Datum settings = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
                                            RelationGetDescr(catalog), &is_null);
        if (!is_null) use(settings);
    }
    systable_endscan(scan);
}

}  // namespace securatlas::pg
