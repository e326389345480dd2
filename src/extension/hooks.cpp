#include "hooks.hpp"

#include "net/truncate.hpp"
#include "securatlas/app/database_statements.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/session_basis.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/webhook_rights.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"
#include "securatlas/pg/shared/installed_extension.hpp"
#include "table_locks.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "commands/defrem.h"
#include "commands/user.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
}

namespace app = securatlas::app;
namespace pg = securatlas::pg;

namespace {

struct Chain {
    ProcessUtility_hook_type utility = nullptr;
    object_access_hook_type access = nullptr;
};
constinit Chain chain;

// What a statement does to a database as a whole.
struct DatabaseStatement {
    const char* stops = nullptr;    // database that must be unused while the statement runs
    const char* creates = nullptr;  // database that exists afterwards
};

const char* template_of(const CreatedbStmt* statement) {
    ListCell* cell = nullptr;
    foreach (cell, statement->options) {
        auto* option = lfirst_node(DefElem, cell);
        if (strcmp(option->defname, "template") == 0 && option->arg != nullptr) {
            return defGetString(option);
        }
    }
    return "template1";
}

bool has_option(const AlterDatabaseStmt* statement, const char* name) {
    ListCell* cell = nullptr;
    foreach (cell, statement->options) {
        if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0) return true;
    }
    return false;
}

DatabaseStatement effect_on_databases(const Node* node) {
    switch (nodeTag(node)) {
        case T_DropdbStmt:
            return {reinterpret_cast<const DropdbStmt*>(node)->dbname, nullptr};
        case T_CreatedbStmt: {
            const auto* create = reinterpret_cast<const CreatedbStmt*>(node);
            return {template_of(create), create->dbname};
        }
        case T_RenameStmt: {
            const auto* rename = reinterpret_cast<const RenameStmt*>(node);
            if (rename->renameType == OBJECT_DATABASE) return {rename->subname, nullptr};
            return {};
        }
        case T_AlterDatabaseStmt: {
            const auto* alter = reinterpret_cast<const AlterDatabaseStmt*>(node);
            if (has_option(alter, "tablespace")) return {alter->dbname, nullptr};
            return {};
        }
        default:
            return {};
    }
}

// Whether a statement enables triggers and thereby undoes ENABLE ALWAYS.
bool enables_triggers(const AlterTableStmt* statement) {
    ListCell* cell = nullptr;
    foreach (cell, statement->cmds) {
        switch (lfirst_node(AlterTableCmd, cell)->subtype) {
            case AT_EnableTrig:
            case AT_EnableTrigAll:
            case AT_EnableTrigUser:
            case AT_EnableReplicaTrig:
                return true;
            default:
                break;
        }
    }
    return false;
}

bool concerns_jobs(const Node* node) {
    switch (nodeTag(node)) {
        case T_DropOwnedStmt:
        case T_ReassignOwnedStmt:
            return true;
        case T_AlterTableStmt:
            return enables_triggers(reinterpret_cast<const AlterTableStmt*>(node));
        case T_AlterDatabaseStmt:
            return has_option(reinterpret_cast<const AlterDatabaseStmt*>(node),
                              "allow_connections");
        default:
            return false;
    }
}

bool commits_prepared(const Node* node) {
    return IsA(node, TransactionStmt) &&
           reinterpret_cast<const TransactionStmt*>(node)->kind == TRANS_STMT_COMMIT_PREPARED;
}

// False if this database does not have the extension. Throws if it has another version, because
// then jobs can neither be followed nor ignored.
bool has_jobs() {
    if (!pg::has_tables(pg::Tables::cron)) return false;
    pg::require_usable_extension();
    return true;
}

// Applies the consequences of a statement about roles to jobs, after the statement has succeeded.
void follow(const Node* node) {
    struct Roles {
        Oid* items;
        std::size_t count;
    };
    const auto roles_of = [](const List* specs) {
        const Roles roles = pg::call([specs] {
            const List* ids = roleSpecsToIds(const_cast<List*>(specs));
            Roles found{static_cast<Oid*>(palloc(sizeof(Oid) * (list_length(ids) + 1))), 0};
            ListCell* cell = nullptr;
            foreach (cell, ids) found.items[found.count++] = lfirst_oid(cell);
            return found;
        });
        return std::vector<pg::RoleOid>(roles.items, roles.items + roles.count);
    };
    switch (nodeTag(node)) {
        case T_DropOwnedStmt: {
            if (!has_jobs()) return;
            const auto roles = roles_of(reinterpret_cast<const DropOwnedStmt*>(node)->roles);
            pg::jobs::remove_of_roles(roles);
            pg::alerts::remove_of_roles(roles);
            return;
        }
        case T_ReassignOwnedStmt: {
            if (!has_jobs()) return;
            const auto* reassign = reinterpret_cast<const ReassignOwnedStmt*>(node);
            const Oid to =
                pg::call([reassign] { return get_rolespec_oid(reassign->newrole, false); });
            const auto roles = roles_of(reassign->roles);
            pg::jobs::give_to_role(roles, to);
            pg::alerts::give_to_role(roles, to);
            return;
        }
        case T_AlterTableStmt: {
            const auto* alter = reinterpret_cast<const AlterTableStmt*>(node);
            const Oid table =
                pg::call([alter] { return RangeVarGetRelid(alter->relation, NoLock, true); });
            // In another version of the extension, its update script will do it.
            if (pg::is_one_of(pg::Tables::cron, table) && pg::extension_is_usable()) {
                pg::jobs::triggers_enabled(table);
                pg::at_commit::notify_everything();
            } else if (pg::is_one_of(pg::Tables::net, table) && pg::extension_is_usable()) {
                pg::requests::triggers_enabled(table);
            }
            return;
        }
        case T_AlterDatabaseStmt:
            app::database_opened(reinterpret_cast<const AlterDatabaseStmt*>(node)->dbname);
            return;
        default:
            return;
    }
}

void run_next(PlannedStmt* statement, const char* query, bool read_only,
              ProcessUtilityContext context, ParamListInfo parameters,
              QueryEnvironment* environment, DestReceiver* receiver, QueryCompletion* completion) {
    const auto next = chain.utility != nullptr ? chain.utility : standard_ProcessUtility;
    next(statement, query, read_only, context, parameters, environment, receiver, completion);
}

extern "C" {

void securatlas_process_utility(PlannedStmt* statement, const char* query, bool read_only,
                                ProcessUtilityContext context, ParamListInfo parameters,
                                QueryEnvironment* environment, DestReceiver* receiver,
                                QueryCompletion* completion) {
    if (securatlas::extension::truncate_own_rows(statement->utilityStmt)) {
        if (completion != nullptr) SetQueryCompletion(completion, CMDTAG_TRUNCATE_TABLE, 0);
        return;
    }
    statement = securatlas::extension::guard_tables(statement);
    const DatabaseStatement concerned = effect_on_databases(statement->utilityStmt);
    if (concerned.stops == nullptr || context != PROCESS_UTILITY_TOPLEVEL) {
        const bool of_jobs = concerns_jobs(statement->utilityStmt);
        const auto notices = commits_prepared(statement->utilityStmt)
                                 ? pg::entry([] { return pg::at_commit::prepared_notices(); })
                                 : pg::at_commit::Prepared::nothing;
        run_next(statement, query, read_only, context, parameters, environment, receiver,
                 completion);
        pg::at_commit::notify_after_prepared(notices);
        if (of_jobs) pg::entry([statement] { follow(statement->utilityStmt); });
        return;
    }
    pg::entry([&] {
        app::close_database(concerned.stops, IsA(statement->utilityStmt, DropdbStmt));
        pg::call([&] {
            run_next(statement, query, read_only, context, parameters, environment, receiver,
                     completion);
        });
        if (concerned.creates != nullptr) app::database_opened(concerned.creates);
    });
}

void securatlas_object_access(ObjectAccessType access, Oid class_id, Oid object, int sub_id,
                              void* argument) {
    if (chain.access != nullptr) chain.access(access, class_id, object, sub_id, argument);
    if (access == OAT_POST_CREATE && class_id == TriggerRelationId) {
        pg::entry([object] { pg::check_new_trigger(object); });
    }
    if (access == OAT_POST_ALTER && class_id == RelationRelationId && sub_id == 0) {
        pg::entry([object] { pg::check_new_owner(object); });
    }
    if (class_id == AuthIdRelationId && (access == OAT_DROP || access == OAT_POST_ALTER)) {
        pg::entry([] { pg::at_commit::roles_changed(); });
    }
    if (access == OAT_POST_ALTER && class_id == DbRoleSettingRelationId) {
        pg::entry([] { pg::announce_settings(); });
    }
    if (class_id != ExtensionRelationId) return;
    if (access == OAT_POST_CREATE) {
        // One that takes over the tables of another: its row cannot be read yet.
        pg::entry([] { pg::forget_installed_extension(); });
    }
    if (access != OAT_DROP && access != OAT_POST_ALTER) return;
    pg::entry([object] {
        if (!pg::call([object] { return pg::is_our_extension(object); })) return;
        pg::forget_installed_extension();
        pg::at_commit::extension_changed();
    });
}

}  // extern "C"

}  // namespace

void securatlas::extension::install_hooks() {
    chain.utility = ProcessUtility_hook;
    ProcessUtility_hook = securatlas_process_utility;
    chain.access = object_access_hook;
    object_access_hook = securatlas_object_access;
}
