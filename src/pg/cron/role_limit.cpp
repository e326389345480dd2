#include "securatlas/pg/cron/role_limit.hpp"

#include "border/stored_settings.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/settings.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/guc.h"
}

namespace securatlas::pg {
namespace {

constexpr std::string_view kAssignment = "cron.max_running_jobs_per_role=";

// All of this is C world. Negative: not set there.
int limit_in(Datum settings) {
    Datum* elements = nullptr;
    int count = 0;
    deconstruct_array(DatumGetArrayTypeP(settings), TEXTOID, -1, false, TYPALIGN_INT, &elements,
                      nullptr, &count);
    for (int i = 0; i < count; ++i) {
        const char* assignment = TextDatumGetCString(elements[i]);
        if (strncmp(assignment, kAssignment.data(), kAssignment.size()) != 0) continue;
        int value = 0;
        if (parse_int(assignment + kAssignment.size(), &value, 0, nullptr)) return value;
    }
    return -1;
}

// In the order in which they go first.
int limit_in_catalog(const Target& target) {
    Relation catalog = table_open(DbRoleSettingRelationId, AccessShareLock);
    int limit = -1;
    for (const Oid role : {target.role, InvalidOid}) {
        for (const Oid database : {target.database, InvalidOid}) {
            if (limit >= 0) continue;
            use_stored_settings(catalog, database, role,
                                [&limit](Datum settings) { limit = limit_in(settings); });
        }
    }
    table_close(catalog, AccessShareLock);
    return limit;
}

}  // namespace

int role_limit(const Target& target) {
    const int limit = call([&target] { return limit_in_catalog(target); });
    return limit < 0 ? settings().max_running_jobs_per_role : limit;
}

}  // namespace securatlas::pg
