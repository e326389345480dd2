#include "securatlas/pg/shared/installed_extension.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "border/extension_row.hpp"
#include "border/relation_changes.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

extern "C" {
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "utils/inval.h"
}

namespace securatlas::pg {
namespace {

// Versions are numbers separated by dots.
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
    bool listens = false;  // the callback for catalog changes is registered
    bool matches = false;  // the catalog has been checked, and has not changed since
};
constinit Memory memory;

void note_change(Oid relation) {
    if (!OidIsValid(relation) || relation == ExtensionRelationId) memory.matches = false;
}

const char* library_version(const std::string& name) {
    if (name == name_of(Tables::cron)) return SECURATLAS_CRON_VERSION;
    if (name == name_of(Tables::net)) return SECURATLAS_NET_VERSION;
    return SECURATLAS_VERSION;
}

void compare_version(InstalledExtension& found, const char* name, const char* version) {
    using State = InstalledExtension::State;
    if (found.state == State::other_version) return;  // one is enough to stop everything
    found.name = name;
    found.version = version;
    found.state =
        found.version == library_version(found.name) ? State::matching : State::other_version;
}

bool is_known_to_match() {
    if (!memory.listens) {
        call([] { on_relation_change(note_change); });
        memory.listens = true;
    }
    return memory.matches;
}

// Reads the catalog, again if it has changed meanwhile, and remembers whether the versions match.
InstalledExtension look() {
    try {
        while (true) {
            // Set before reading, so that an invalidation during the read is not lost.
            memory.matches = true;
            InstalledExtension found = installed_extension();
            const bool is_matching = found.state == InstalledExtension::State::matching;
            if (is_matching && !memory.matches) continue;
            memory.matches = is_matching;
            return found;
        }
    } catch (...) {
        memory.matches = false;
        throw;
    }
}

}  // namespace

InstalledExtension installed_extension() {
    struct Rows {
        ExtensionRow all, cron, net;
        Oid cron_schema, net_schema;
    };
    const Rows rows = call([] {
        return Rows{read_extension(kExtension), read_named_extension(Tables::cron),
                    read_named_extension(Tables::net), read_schema("cron"), read_schema("net")};
    });
    InstalledExtension found{InstalledExtension::State::absent, {}, {}};
    const bool has_all = OidIsValid(rows.all.id);
    if (has_all) compare_version(found, kExtension, rows.all.version);
    if (has_all || OidIsValid(rows.cron.id)) found.cron = rows.cron_schema;
    if (has_all || OidIsValid(rows.net.id)) found.net = rows.net_schema;
    if (has_all) return found;
    if (found.cron != 0) compare_version(found, name_of(Tables::cron), rows.cron.version);
    if (found.net != 0) compare_version(found, name_of(Tables::net), rows.net.version);
    return found;
}

Error unusable_extension(const InstalledExtension& found) {
    if (found.state == InstalledExtension::State::absent) {
        return Error("55000", "extension \"securatlas_sched\" is not in this database", "",
                     "Run CREATE EXTENSION securatlas_sched.");
    }
    const std::string expected = library_version(found.name);
    return Error("55000",
                 "the loaded library is for version " + expected + " of extension \"" + found.name +
                     "\", but this database has version " + found.version,
                 "",
                 is_older_version(found.version, expected)
                     ? "Run ALTER EXTENSION " + found.name + " UPDATE."
                     : "Install version " + found.version +
                           " and restart the server. An extension cannot go back to an older "
                           "version.");
}

bool extension_is_usable() {
    return is_known_to_match() || look().state == InstalledExtension::State::matching;
}

void require_usable_extension() {
    (void)require_shared_state();
    if (creating_extension || is_known_to_match()) return;
    const InstalledExtension found = look();
    if (found.state != InstalledExtension::State::matching) throw unusable_extension(found);
}

void forget_installed_extension() {
    call([] { CacheInvalidateRelcacheByRelid(ExtensionRelationId); });
}

}  // namespace securatlas::pg
