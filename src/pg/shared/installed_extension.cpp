#include "securatlas/pg/shared/installed_extension.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
}

namespace securatlas::pg {
namespace {

constexpr const char* kName = "securatlas_sched";
constexpr const char* kLibraryVersion = SECURATLAS_VERSION;

// Versions are numbers with dots between them.
bool is_older_version(std::string_view a, std::string_view b) {
    const auto next_number = [](std::string_view& version) {
        unsigned number = 0;
        std::from_chars(version.data(), version.data() + version.size(), number);
        version.remove_prefix((std::min)(version.find('.'), version.size() - 1) + 1);
        return number;
    };
    while (!a.empty() && !b.empty()) {
        const unsigned of_a = next_number(a);
        const unsigned of_b = next_number(b);
        if (of_a != of_b) return of_a < of_b;
    }
    return a.size() < b.size();
}

struct Memory {
    bool listens = false;  // to changes of the catalog
    bool matches = false;  // the catalog said so, and has not changed since
};
constinit Memory memory;

extern "C" void securatlas_relation_changed(Datum, Oid relation) {
    if (!OidIsValid(relation) || relation == ExtensionRelationId) memory.matches = false;
}

struct Found {
    const char* version;  // null: there is none
    Oid id;
};

// C world. Read from the table: before PostgreSQL 18 it has no cache, and since then whoever is
// called by a commit may not have heard yet of what it has changed in the catalogs.
Found read_extension() {
    Relation catalog = table_open(ExtensionRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
                CStringGetDatum(kName));
    SysScanDesc scan = systable_beginscan(catalog, ExtensionNameIndexId, true, nullptr, 1, &key);
    Found found{nullptr, InvalidOid};
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        bool is_null = false;
        const Datum value =
            heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(catalog), &is_null);
        found.version = is_null ? "" : TextDatumGetCString(value);
        found.id = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple))->oid;
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return found;
}

}  // namespace

InstalledExtension installed_extension() {
    const auto [version, id] = call([] { return read_extension(); });
    if (version == nullptr) return {InstalledExtension::State::absent, {}, 0};
    const bool matches = strcmp(version, kLibraryVersion) == 0;
    return {
        matches ? InstalledExtension::State::matching : InstalledExtension::State::other_version,
        version, id};
}

bool has_extension() { return installed_extension().state != InstalledExtension::State::absent; }

Error unusable_extension(const InstalledExtension& found) {
    if (found.state == InstalledExtension::State::absent) {
        return Error("55000", "extension \"securatlas_sched\" is not in this database", "",
                     "Run CREATE EXTENSION securatlas_sched.");
    }
    return Error(
        "55000",
        "the library securatlas_sched has version " + std::string(kLibraryVersion) +
            ", the extension in this database version " + found.version,
        "",
        is_older_version(found.version, kLibraryVersion)
            ? "Run ALTER EXTENSION securatlas_sched UPDATE."
            : "Install that version of the library and restart the server; there is no way "
              "back to an older version.");
}

bool extension_is_usable() {
    if (!memory.listens) {
        call([] { CacheRegisterRelcacheCallback(securatlas_relation_changed, Datum{0}); });
        memory.listens = true;
    }
    if (memory.matches) return true;
    // Before the look: a change that comes in between is not to be missed.
    memory.matches = true;
    try {
        memory.matches =
            installed_extension().state == InstalledExtension::State::matching && memory.matches;
    } catch (...) {
        memory.matches = false;
        throw;
    }
    return memory.matches;
}

void require_usable_extension() {
    (void)require_shared_state();
    if (creating_extension) return;
    if (!extension_is_usable()) throw unusable_extension(installed_extension());
}

void forget_installed_extension() {
    call([] { CacheInvalidateRelcacheByRelid(ExtensionRelationId); });
}

}  // namespace securatlas::pg
