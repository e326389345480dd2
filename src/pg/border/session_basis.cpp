#include "securatlas/pg/border/session_basis.hpp"

#include "border/stored_settings.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/transaction.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/catcache.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"
}

namespace securatlas::pg {
namespace {

// All of this is C world.

std::uint64_t hash(const void* bytes, std::size_t size) {
    return hash_bytes_extended(static_cast<const unsigned char*>(bytes), static_cast<int>(size), 0);
}

void add(std::uint64_t& to, std::uint64_t part) { to = hash_combine64(to, part); }

std::uint64_t hash_row(HeapTuple tuple) {
    const std::size_t header = tuple->t_data->t_hoff;
    return hash(reinterpret_cast<const char*>(tuple->t_data) + header, tuple->t_len - header);
}

std::uint64_t hash_array(Datum array) {
    const ArrayType* plain = DatumGetArrayTypeP(array);
    return hash(plain, VARSIZE(plain));
}

std::uint64_t hash_role(Oid role) {
    HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
    if (!HeapTupleIsValid(tuple)) return 0;
    const std::uint64_t found = hash_row(tuple);
    ReleaseSysCache(tuple);
    return found;
}

std::uint64_t hash_memberships(Oid role) {
    CatCList* list = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(role));
    std::uint64_t sum = 0;  // a sum, because the order of the rows does not matter
    for (int i = 0; i < list->n_members; ++i) sum += hash_row(&list->members[i]->tuple);
    ReleaseSysCacheList(list);
    return sum;
}

// Not the whole row, because VACUUM changes some of its columns.
std::uint64_t hash_database(Oid database) {
    HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
    if (!HeapTupleIsValid(tuple)) return 0;
    const auto* row = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
    std::uint64_t found = row->datdba;
    add(found, row->datallowconn ? 1 : 0);
    add(found, static_cast<std::uint64_t>(row->datconnlimit));
    bool is_null = false;
    const Datum rights = SysCacheGetAttr(DATABASEOID, tuple, Anum_pg_database_datacl, &is_null);
    if (!is_null) add(found, hash_array(rights));
    ReleaseSysCache(tuple);
    return found;
}

std::uint64_t hash_settings(Oid database, Oid role, Datum settings) {
    std::uint64_t found = hash_array(settings);
    add(found, (std::uint64_t{database} << 32) | role);
    return found;
}

// The rows for this database or all, and for this role or all. Nearly always the catalog is a page
// at most, and a look at it takes less time than four at its index.
std::uint64_t hash_all_settings(Relation catalog, Oid role) {
    std::uint64_t sum = 0;
    const BlockNumber pages = RelationGetNumberOfBlocks(catalog);
    if (pages == 1) {
        use_all_stored_settings(catalog, [&sum, role](Oid database, Oid whose, Datum settings) {
            const bool is_here = database == MyDatabaseId || database == InvalidOid;
            if (!is_here || (whose != role && whose != InvalidOid)) return;
            sum += hash_settings(database, whose, settings);
        });
    } else if (pages > 1) {
        for (const Oid database : {MyDatabaseId, InvalidOid}) {
            for (const Oid whose : {role, InvalidOid}) {
                use_stored_settings(catalog, database, whose,
                                    [&sum, database, whose](Datum settings) {
                                        sum += hash_settings(database, whose, settings);
                                    });
            }
        }
    }
    return sum;
}

// What is in the catalogs of which caches know that they have changed.
struct Watched {
    std::uint64_t known = 0;
    bool has_changed = true;
};
constinit Watched watched;

void watch() {
    // The type of the cache's number differs between versions of PostgreSQL.
    const auto note = [](Datum, auto, uint32) { watched.has_changed = true; };
    for (const auto cache : {AUTHOID, AUTHMEMMEMROLE, DATABASEOID}) {
        CacheRegisterSyscacheCallback(cache, note, Datum{0});
    }
}

std::uint64_t read_watched(Oid role) {
    if (!watched.has_changed) return watched.known;
    watched.has_changed = false;  // first, because it may change while it is read
    std::uint64_t basis = hash_role(role);
    add(basis, hash_memberships(role));
    add(basis, hash_database(MyDatabaseId));
    watched.known = basis;
    return basis;
}

std::uint64_t read_basis() {
    // First, because opening a table processes pending invalidations of the catalog caches.
    Relation settings = table_open(DbRoleSettingRelationId, AccessShareLock);
    const Oid role = GetSessionUserId();
    std::uint64_t basis = read_watched(role);
    add(basis, hash_all_settings(settings, role));
    table_close(settings, AccessShareLock);
    return basis;
}

// Whether the session is a superuser exactly if its role is one now.
bool is_superuser_as_its_role() {
    const bool session = strcmp(GetConfigOption("is_superuser", false, false), "on") == 0;
    return session == superuser_arg(GetSessionUserId());
}

}  // namespace

SessionBasis::SessionBasis() {
    Transaction transaction;
    at_connection_ = call([] {
        watch();
        return read_basis();
    });
    transaction.commit();
}

bool SessionBasis::holds() const {
    return call([at_connection = at_connection_] {
        return read_basis() == at_connection && is_superuser_as_its_role();
    });
}

}  // namespace securatlas::pg
