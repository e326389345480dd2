#include "securatlas/pg/border/session_basis.hpp"

#include "border/relation_changes.hpp"
#include "border/stored_settings.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/transaction.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "common/hashfn.h"
#include "miscadmin.h"
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

// The rows for this database or all, and for this role or all.
std::uint64_t hash_all_settings(Relation catalog, Oid role) {
    std::uint64_t sum = 0;
    for (const Oid database : {MyDatabaseId, InvalidOid}) {
        for (const Oid whose : {role, InvalidOid}) {
            use_stored_settings(catalog, database, whose, [&sum, database, whose](Datum settings) {
                sum += hash_settings(database, whose, settings);
            });
        }
    }
    return sum;
}

// What was read, until somebody changes it. Of the settings only this extension tells that
// (announce_settings()), so that they are read again each second as well.
constexpr core::Duration kLongestUse = std::chrono::seconds(1);
struct Known {
    std::uint64_t basis = 0;
    bool has_changed = true;
    core::Duration read_at{0};
};
constinit Known known;

void note_change(Oid relation) {
    if (!OidIsValid(relation) || relation == DbRoleSettingRelationId) known.has_changed = true;
}

void watch() {
    // The type of the cache's number differs between versions of PostgreSQL.
    const auto note = [](Datum, auto, uint32) { known.has_changed = true; };
    for (const auto cache : {AUTHOID, AUTHMEMMEMROLE, DATABASEOID}) {
        CacheRegisterSyscacheCallback(cache, note, Datum{0});
    }
    on_relation_change(note_change);
}

std::uint64_t read_basis() {
    AcceptInvalidationMessages();
    const core::Duration now = monotonic_now();
    if (!known.has_changed && now - known.read_at < kLongestUse) return known.basis;
    known = {};                 // if reading fails it is read again
    known.has_changed = false;  // first, because it may change while it is read
    const Oid role = GetSessionUserId();
    Relation settings = table_open(DbRoleSettingRelationId, AccessShareLock);
    std::uint64_t basis = hash_role(role);
    add(basis, hash_memberships(role));
    add(basis, hash_database(MyDatabaseId));
    add(basis, hash_all_settings(settings, role));
    table_close(settings, AccessShareLock);
    known.basis = basis;
    known.read_at = now;
    return basis;
}

// Whether the session is a superuser exactly if its role is one now.
bool is_superuser_as_its_role() {
    const bool session = strcmp(GetConfigOption("is_superuser", false, false), "on") == 0;
    return session == superuser_arg(GetSessionUserId());
}

}  // namespace

void announce_settings() {
    call([] { CacheInvalidateRelcacheByRelid(DbRoleSettingRelationId); });
}

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
