// PostgreSQL's plan cache makes a plan again when something that it uses has changed, as for
// prepared statements. These give more away than that: once a table or a function exists that comes
// first on the search_path, they go on with the other one, and a literal 'now' stays what it was.
// Neither may happen to a job. So nothing is kept across a change of the catalogs in which names
// are looked up, and no statement with a constant that was made of a text whose meaning may change.
#include "border/kept_plans.hpp"

#include <cstring>

#include "securatlas/pg/border/compat.hpp"
#include "securatlas/pg/border/process.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

// Statistics and what depends on the time are not older than this in a plan.
constexpr int kLongestUseMs = 10000;
constexpr std::size_t kLongestCommand = 4096;
constexpr std::size_t kCapacity = 64;

struct Kept {
    std::uint64_t hash;        // of the command that was last executed at this place; 0: none
    bool is_unfit;             // that command is not kept
    char* command;             // with `source`
    CachedPlanSource* source;  // null: not kept yet
    std::uint64_t catalogs;
    unsigned configuration;
    TimestampTz made_at;
};

struct State {
    std::uint64_t catalogs = 0;  // counts changes
    Kept all[kCapacity] = {};
};
constinit State state;

std::uint64_t hash_of(const char* command, std::size_t length) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(command);
    const std::uint64_t hash = hash_bytes_extended(bytes, static_cast<int>(length), 0);
    return hash == 0 ? 1 : hash;
}

bool is_fresh(const Kept& kept) {
    return kept.catalogs == state.catalogs && kept.configuration == configuration_version() &&
           !TimestampDifferenceExceeds(kept.made_at, GetCurrentTransactionStartTimestamp(),
                                       kLongestUseMs);
}

void drop(Kept& kept) {
    if (kept.source != nullptr) DropCachedPlan(kept.source);
    kept.source = nullptr;
    if (kept.command != nullptr) pfree(kept.command);
    kept.command = nullptr;
}

bool is_plannable(const Node* statement) {
    switch (nodeTag(statement)) {
        case T_SelectStmt:
            return reinterpret_cast<const SelectStmt*>(statement)->intoClause == nullptr;
        case T_InsertStmt:
        case T_UpdateStmt:
        case T_DeleteStmt:
        case T_MergeStmt:
            return true;
        default:
            return false;
    }
}

// Whether a text of a constant of this type always means the same: not 'now' of a timestamp. Names
// of tables do as long as the catalogs stay as they are.
bool is_lasting(Oid type) {
    if (type == INTERVALOID || type == REGCLASSOID) return true;
    Oid input = InvalidOid;
    Oid parameter = InvalidOid;
    getTypeInputInfo(type, &input, &parameter);
    return func_volatile(input) == PROVOLATILE_IMMUTABLE;
}

bool walk_for_moments(Node* node, void* context) {
    if (node == nullptr) return false;
    if (IsA(node, Const)) {
        const auto* constant = reinterpret_cast<Const*>(node);
        return !constant->constisnull && !is_lasting(constant->consttype);
    }
    if (IsA(node, Query)) {
        auto* query = reinterpret_cast<Query*>(node);
        if (query->commandType == CMD_UTILITY) return true;
        return query_tree_walker(query, tree_walker(walk_for_moments), context, 0);
    }
    return expression_tree_walker(node, tree_walker(walk_for_moments), context);
}

bool may_be_kept(List* queries) {
    ListCell* cell = nullptr;
    foreach (cell, queries) {
        if (walk_for_moments(static_cast<Node*>(lfirst(cell)), nullptr)) return false;
    }
    return true;
}

}  // namespace

void prepare_kept_plans() {
    // The type of the cache's number differs between versions of PostgreSQL.
    const auto count = [](Datum, auto, uint32) { ++state.catalogs; };
    for (const auto cache : {RELNAMENSP, TYPENAMENSP, PROCNAMEARGSNSP, OPERNAMENSP, NAMESPACENAME,
                             CASTSOURCETARGET, COLLNAMEENCNSP, TSCONFIGNAMENSP}) {
        CacheRegisterSyscacheCallback(cache, count, Datum{0});
    }
}

CachedPlanSource* kept_plan(const char* command) {
    const std::size_t length = strlen(command);
    if (length > kLongestCommand) return nullptr;
    const std::uint64_t hash = hash_of(command, length);
    Kept& kept = state.all[hash % kCapacity];
    if (kept.hash != hash || kept.source == nullptr) return nullptr;
    if (strcmp(kept.command, command) == 0 && is_fresh(kept)) return kept.source;
    drop(kept);
    return nullptr;
}

CachedPlanSource* keep_plan(const char* command, RawStmt* parsed) {
    const std::size_t length = strlen(command);
    if (length > kLongestCommand || !is_plannable(parsed->stmt)) return nullptr;
    const std::uint64_t hash = hash_of(command, length);
    Kept& kept = state.all[hash % kCapacity];
    if (kept.hash != hash) {
        drop(kept);
        kept.hash = hash;
        kept.is_unfit = false;
        return nullptr;
    }
    if (kept.is_unfit) return nullptr;
    drop(kept);
    kept.catalogs = state.catalogs;  // first, because names are looked up from here on
    CachedPlanSource* source =
        CreateCachedPlan(parsed, command, CreateCommandTag(parsed->stmt));  // before the analysis
    const bool snapshot = analyze_requires_snapshot(parsed);
    if (snapshot) PushActiveSnapshot(GetTransactionSnapshot());
    List* queries = pg_analyze_and_rewrite_fixedparams(parsed, command, nullptr, 0, nullptr);
    kept.is_unfit = !may_be_kept(queries);
    if (snapshot) PopActiveSnapshot();
    CompleteCachedPlan(source, queries, nullptr, nullptr, 0, nullptr, nullptr,
                       CURSOR_OPT_PARALLEL_OK, false);
    if (kept.is_unfit) return source;  // in the caller's memory context
    kept.command = MemoryContextStrdup(TopMemoryContext, command);
    kept.configuration = configuration_version();
    kept.made_at = GetCurrentTransactionStartTimestamp();
    SaveCachedPlan(source);
    kept.source = source;
    return source;
}

}  // namespace securatlas::pg
