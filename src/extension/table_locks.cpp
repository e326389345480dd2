#include "table_locks.hpp"

#include "securatlas/pg/border/compat.hpp"
#include "securatlas/pg/border/extension.hpp"

extern "C" {
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

namespace pg = securatlas::pg;

namespace {

// ---- relations of ours ---------------------------------------------------------------------

// Indexes are no members of the extension, but their tables are.
bool is_ours(Oid relation) {
    const Oid table =
        get_rel_relkind(relation) == RELKIND_INDEX ? IndexGetRelation(relation, true) : relation;
    return OidIsValid(table) &&
           pg::is_our_extension(getExtensionOfObject(RelationRelationId, table));
}

bool is_of_others(Oid relation) {
    return OidIsValid(relation) && is_ours(relation) &&
           !pg::role_owns_relation(GetUserId(), relation);
}

// The relation that a name means. Adds the schema to the name, so that it keeps this meaning.
Oid settle(RangeVar* name) {
    const Oid relation = RangeVarGetRelid(name, NoLock, true);
    if (OidIsValid(relation) && name->schemaname == nullptr) {
        name->schemaname = get_namespace_name_or_temp(get_rel_namespace(relation));
    }
    return relation;
}

// ---- LOCK ----------------------------------------------------------------------------------

void refuse_lock(Oid relation) {
    if (!is_of_others(relation)) return;
    ereport(ERROR,
            (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
             errmsg("permission denied for table %s", get_rel_name(relation)),
             errdetail("Everybody's runs and requests are written to the tables of extension "
                       "\"%s\": only the owner may lock one in SHARE mode or a stronger one.",
                       get_extension_name(getExtensionOfObject(RelationRelationId, relation))),
             errhint("Use ROW EXCLUSIVE mode or a weaker one, or an advisory lock.")));
}

bool may_lock(Oid relation, Oid role) {
    return pg_class_aclcheck(relation, role, pg::kLockPrivileges) == ACLCHECK_OK;
}

extern "C" void securatlas_before_view_lock(const RangeVar* name, Oid relation, Oid, void*) {
    if (!OidIsValid(relation) || may_lock(relation, GetUserId())) return;
    aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, name->relname);
}

extern "C" bool securatlas_find_relations(Node* node, void* found) {
    const auto visitor = pg::tree_walker(securatlas_find_relations);
    if (node == nullptr) return false;
    if (IsA(node, RangeTblEntry)) {
        const auto* entry = reinterpret_cast<const RangeTblEntry*>(node);
        auto* relations = static_cast<List**>(found);
        if (entry->rtekind == RTE_RELATION) {
            *relations = list_append_unique_oid(*relations, entry->relid);
        }
        return false;
    }
    if (IsA(node, Query)) {
        return query_tree_walker(reinterpret_cast<Query*>(node), visitor, found,
                                 QTW_EXAMINE_RTES_BEFORE | QTW_IGNORE_JOINALIASES);
    }
    return expression_tree_walker(node, visitor, found);
}

// A LOCK of a view locks its tables, as the view's owner. `view` is locked, so that nobody can
// give it another query; those that it is made of are locked here, as PostgreSQL does it.
void refuse_lock_through(Oid view, const LockStmt* lock, List* above) {
    check_stack_depth();
    Relation relation = table_open(view, NoLock);
    const Oid role =
        RelationHasSecurityInvoker(relation) ? GetUserId() : relation->rd_rel->relowner;
    List* relations = NIL;
    securatlas_find_relations(reinterpret_cast<Node*>(get_view_query(relation)), &relations);
    table_close(relation, NoLock);
    List* seen = lappend_oid(list_copy(above), view);
    ListCell* cell = nullptr;
    foreach (cell, relations) {
        const Oid inner = lfirst_oid(cell);
        if (list_member_oid(seen, inner)) continue;
        refuse_lock(inner);
        // PostgreSQL reports what the role may not lock when LOCK itself reaches it.
        if (get_rel_relkind(inner) != RELKIND_VIEW || !may_lock(inner, role)) continue;
        if (!lock->nowait) {
            LockRelationOid(inner, lock->mode);
        } else if (!ConditionalLockRelationOid(inner, lock->mode)) {
            ereport(ERROR,
                    (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                     errmsg("could not obtain lock on relation \"%s\"", get_rel_name(inner))));
        }
        refuse_lock_through(inner, lock, seen);
    }
}

void guard(const LockStmt* lock) {
    ListCell* cell = nullptr;
    foreach (cell, lock->relations) {
        auto* name = lfirst_node(RangeVar, cell);
        const Oid relation = settle(name);
        if (!OidIsValid(relation)) continue;
        refuse_lock(relation);
        if (get_rel_relkind(relation) != RELKIND_VIEW) continue;
        const Oid view = RangeVarGetRelidExtended(name, lock->mode, lock->nowait ? RVR_NOWAIT : 0,
                                                  securatlas_before_view_lock, nullptr);
        if (get_rel_relkind(view) == RELKIND_VIEW) refuse_lock_through(view, lock, NIL);
    }
}

// ---- commands that wait for a lock before they check privileges ----------------------------

void require_ownership(RangeVar* name) {
    const Oid relation = settle(name);
    if (!is_of_others(relation)) return;
    aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relation)),
                   get_rel_name(relation));
}

void require_privilege(RangeVar* name, AclMode privilege) {
    const Oid relation = settle(name);
    if (!is_of_others(relation)) return;
    if (pg_class_aclcheck(relation, GetUserId(), privilege) == ACLCHECK_OK) return;
    // To reference a table the privilege on its columns is enough.
    if (pg_attribute_aclcheck_all(relation, GetUserId(), privilege, ACLMASK_ANY) == ACLCHECK_OK) {
        return;
    }
    aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relation)),
                   get_rel_name(relation));
}

void guard_reference(const Node* node) {
    if (!IsA(node, Constraint)) return;
    const auto* constraint = reinterpret_cast<const Constraint*>(node);
    if (constraint->contype != CONSTR_FOREIGN || constraint->pktable == nullptr) return;
    require_privilege(constraint->pktable, ACL_REFERENCES);
}

void guard(const AlterTableCmd* command) {
    if (command->def == nullptr) return;
    switch (command->subtype) {
        case AT_AddConstraint:
            guard_reference(command->def);
            break;
        case AT_AddColumn: {
            ListCell* cell = nullptr;
            foreach (cell, castNode(ColumnDef, command->def)->constraints) {
                guard_reference(static_cast<const Node*>(lfirst(cell)));
            }
            break;
        }
        case AT_AttachPartition:
        case AT_DetachPartition:
        case AT_DetachPartitionFinalize:
            require_ownership(castNode(PartitionCmd, command->def)->name);
            break;
        default:
            break;
    }
}

void guard_parents(const CreateStmt* create) {
    ListCell* cell = nullptr;
    foreach (cell, create->inhRelations) require_ownership(lfirst_node(RangeVar, cell));
}

// Whether this is our extension, and another role than the current one owns it.
bool is_extension_of_others(const char* name) {
    const Oid extension = get_extension_oid(name, true);
    return pg::is_our_extension(extension) && !pg::role_owns_extension(GetUserId(), extension);
}

// The command takes an exclusive lock on the extension, which keeps everybody from using it.
void guard(const AlterObjectDependsStmt* depends) {
    if (depends->relation != nullptr && depends->objectType != OBJECT_TRIGGER) {
        require_ownership(depends->relation);
    }
    const char* name = strVal(depends->extname);
    if (!is_extension_of_others(name)) return;
    ereport(ERROR,
            (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of extension %s", name),
             errdetail("The command locks the extension until the transaction ends. Until then "
                       "no job could run."),
             errhint("Let its owner run the command.")));
}

void guard_extension(const DropStmt* drop) {
    ListCell* cell = nullptr;
    foreach (cell, drop->objects) {
        const char* name = strVal(lfirst(cell));
        if (is_extension_of_others(name)) {
            aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_EXTENSION, name);
        }
    }
}

// Whether guard() has anything to say.
bool is_concerned(const Node* node) {
    switch (nodeTag(node)) {
        case T_LockStmt:
            return DoLockModesConflict(reinterpret_cast<const LockStmt*>(node)->mode,
                                       RowExclusiveLock);
        case T_CreateStmt:
        case T_CreateForeignTableStmt:
            return reinterpret_cast<const CreateStmt*>(node)->partbound != nullptr;
        case T_DropStmt:
            return reinterpret_cast<const DropStmt*>(node)->removeType == OBJECT_EXTENSION;
        case T_CreateTrigStmt:
        case T_RuleStmt:
        case T_AlterTableStmt:
        case T_AlterObjectDependsStmt:
            return true;
        default:
            return false;
    }
}

void guard(Node* node) {
    switch (nodeTag(node)) {
        case T_LockStmt:
            guard(castNode(LockStmt, node));
            break;
        case T_CreateTrigStmt:
            require_privilege(castNode(CreateTrigStmt, node)->relation, ACL_TRIGGER);
            break;
        case T_RuleStmt:
            require_ownership(castNode(RuleStmt, node)->relation);
            break;
        case T_AlterTableStmt: {
            ListCell* cell = nullptr;
            foreach (cell, castNode(AlterTableStmt, node)->cmds) {
                guard(lfirst_node(AlterTableCmd, cell));
            }
            break;
        }
        case T_CreateStmt:
        case T_CreateForeignTableStmt:
            guard_parents(reinterpret_cast<const CreateStmt*>(node));
            break;
        case T_AlterObjectDependsStmt:
            guard(castNode(AlterObjectDependsStmt, node));
            break;
        case T_DropStmt:
            guard_extension(castNode(DropStmt, node));
            break;
        default:
            break;
    }
}

}  // namespace

PlannedStmt* securatlas::extension::guard_tables(PlannedStmt* statement) {
    if (!is_concerned(statement->utilityStmt)) return statement;
    auto* fixed = static_cast<PlannedStmt*>(copyObjectImpl(statement));
    guard(fixed->utilityStmt);
    return fixed;
}
