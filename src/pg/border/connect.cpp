// How background processes connect, and which settings they do not take from roles and databases.
#include <vector>

#include "border/local.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/settings.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "mb/pg_wchar.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
}

namespace securatlas::pg {
namespace {

// A setting, and its value before the connection.
struct Saved {
    config_generic* setting;
    char* value;
};

struct SavedSettings {
    Saved* items;
    int count;
};

// C world. The settings that ALTER DATABASE or ALTER ROLE can set.
SavedSettings save_settings() {
    int count = 0;
    config_generic** all = all_settings(&count);
    SavedSettings saved{static_cast<Saved*>(palloc(sizeof(Saved) * static_cast<Size>(count))), 0};
    for (int i = 0; i < count; ++i) {
        if (all[i]->context != PGC_USERSET && all[i]->context != PGC_SUSET) continue;
        const char* value = GetConfigOption(all[i]->name, true, false);
        if (value != nullptr) saved.items[saved.count++] = {all[i], pstrdup(value)};
    }
    return saved;
}

bool is_of_role_or_database(const config_generic* setting) {
    return setting->source == PGC_S_GLOBAL || setting->source == PGC_S_DATABASE ||
           setting->source == PGC_S_USER || setting->source == PGC_S_DATABASE_USER;
}

// C world. Restores the server's values: the owner of a database may set nearly everything for all
// sessions in it, and could stop or mislead these processes. `role` comes first, because that role
// may lack privileges that other settings need.
void undo_settings_of_role_and_database(const SavedSettings& saved) {
    set_for_process("role", "none");
    for (int i = 0; i < saved.count; ++i) {
        const Saved& one = saved.items[i];
        if (is_of_role_or_database(one.setting)) set_for_process(one.setting->name, one.value);
    }
    set_for_process("client_encoding", GetDatabaseEncodingName());
}

// C world. Before the connection, which is a transaction itself.
void set_no_timeouts() {
    for (const char* timeout : kTimeouts) set_for_process(timeout, "0");
}

}  // namespace

void set_for_process(const char* name, const char* value) {
    SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

void connect_as_superuser(unsigned int database) {
    call([database] {
        set_no_timeouts();
        const SavedSettings saved = save_settings();
        BackgroundWorkerInitializeConnectionByOid(database, BOOTSTRAP_SUPERUSERID, 0);
        undo_settings_of_role_and_database(saved);
        set_for_process("search_path", "pg_catalog, pg_temp");
        // Avoid lock waits; where one is unavoidable, give up after a second.
        set_for_process("lock_timeout", "1s");
        set_for_process("default_transaction_isolation", "read committed");
        set_for_process("default_transaction_read_only", "off");
        set_for_process("default_transaction_deferrable", "off");
        set_for_process("session_replication_role", "replica");
        set_for_process("row_security", "off");
        // The statements are small: loading the JIT compiler would cost more than it saves.
        set_for_process("jit", "off");
    });
    check_interrupts();
}

void connect_to_shared_catalogs() {
    call([] {
        set_no_timeouts();
        BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    });
    check_interrupts();
}

void connect_as_role(unsigned int database, unsigned int role) {
    call([database, role] {
        BackgroundWorkerInitializeConnectionByOid(database, role, 0);
        // A run executes as its job's role, even if the database sets `role`.
        set_for_process("role", "none");
    });
    apply_log_min_messages();
    check_interrupts();
}

}  // namespace securatlas::pg
