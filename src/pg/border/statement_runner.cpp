#include "border/statement_runner.hpp"

#include "border/kept_plans.hpp"

extern "C" {
#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "storage/proc.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
}

namespace securatlas::pg {
namespace {

bool ends_aborted_block(const Node* statement) {
    if (!IsA(statement, TransactionStmt)) return false;
    const TransactionStmtKind kind = reinterpret_cast<const TransactionStmt*>(statement)->kind;
    return kind == TRANS_STMT_COMMIT || kind == TRANS_STMT_PREPARE || kind == TRANS_STMT_ROLLBACK ||
           kind == TRANS_STMT_ROLLBACK_TO;
}

// A job has no client to copy from or to; without this check PostgreSQL would use the server's
// stdin and stdout.
void refuse_client_copy(const Node* statement) {
    if (!IsA(statement, CopyStmt)) return;
    if (reinterpret_cast<const CopyStmt*>(statement)->filename != nullptr) return;
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("COPY FROM STDIN and COPY TO STDOUT are not possible in a job"),
                    errhint("Copy from or to a file or program on the server.")));
}

List* plan_statement(RawStmt* parsed, const char* command) {
    const bool snapshot = analyze_requires_snapshot(parsed);
    if (snapshot) PushActiveSnapshot(GetTransactionSnapshot());
    List* queries = pg_analyze_and_rewrite_fixedparams(parsed, command, nullptr, 0, nullptr);
    List* plans = pg_plan_queries(queries, command, CURSOR_OPT_PARALLEL_OK, nullptr);
    if (snapshot) PopActiveSnapshot();
    return plans;
}

// Whether there is a statement whose effects do not wait for the command's own commit.
bool has_two_phase(const List* statements) {
    ListCell* cell = nullptr;
    foreach (cell, statements) {
        const Node* statement = lfirst_node(RawStmt, cell)->stmt;
        if (!IsA(statement, TransactionStmt)) continue;
        switch (reinterpret_cast<const TransactionStmt*>(statement)->kind) {
            case TRANS_STMT_PREPARE:
            case TRANS_STMT_COMMIT_PREPARED:
            case TRANS_STMT_ROLLBACK_PREPARED:
                return true;
            default:
                break;
        }
    }
    return false;
}

// `kept`: whose statements these are; null: they were made for this run only.
void run_plans(List* plans, CachedPlan* kept, CommandTag command_tag, const char* command,
               bool top_level, StatementTag* tag) {
    Portal portal = CreatePortal("", true, true);
    portal->visible = false;
    PortalDefineQuery(portal, nullptr, command, command_tag, plans, kept);
    PortalStart(portal, nullptr, 0, InvalidSnapshot);
    DestReceiver* receiver = CreateDestReceiver(DestNone);
    QueryCompletion completion;
    run_portal_to_end(portal, top_level, receiver, &completion);
    receiver->rDestroy(receiver);
    PortalDrop(portal, false);
    build_completion_tag(tag->text, &completion);
}

// For a command that is this statement only.
void run_kept(CachedPlanSource* source, const char* command, StatementTag* tag) {
    CachedPlan* plan = GetCachedPlan(source, nullptr, nullptr, nullptr);
    run_plans(plan->stmt_list, plan, source->commandTag, command, true, tag);
}

void run_statement(RawStmt* parsed, const char* command, bool top_level, StatementTag* tag) {
    refuse_client_copy(parsed->stmt);
    if (IsAbortedTransactionBlockState() && !ends_aborted_block(parsed->stmt)) {
        ereport(ERROR, (errcode(ERRCODE_IN_FAILED_SQL_TRANSACTION),
                        errmsg("current transaction is aborted, commands ignored until end of "
                               "transaction block")));
    }
    const CommandTag command_tag = CreateCommandTag(parsed->stmt);
    List* plans = plan_statement(parsed, command);
    CHECK_FOR_INTERRUPTS();
    run_plans(plans, nullptr, command_tag, command, top_level, tag);
}

// What exec_simple_query() does between the statements of a query string.
void between_statements(const Node* statement) {
    disable_timeout(STATEMENT_TIMEOUT, false);  // each statement has its own
    if (IsA(statement, TransactionStmt)) {
        CommitTransactionCommand();
        StartTransactionCommand();
    } else {
        CommandCounterIncrement();
    }
}

// After the last statement: leaves a transaction open that only has to be committed.
void after_statements(const Node* last) {
    if (IsA(last, TransactionStmt)) {
        CommitTransactionCommand();
        if (!IsTransactionState()) StartTransactionCommand();
    }
    if (IsTransactionBlock()) {
        ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
                        errmsg("the command left a transaction block open; it was rolled back"),
                        errhint("End the transaction block with COMMIT.")));
    }
}

}  // namespace

void prepare_statement_runner() {
    // Some server code allocates in MessageContext, which background workers do not have.
    MessageContext =
        AllocSetContextCreate(TopMemoryContext, "MessageContext", ALLOCSET_DEFAULT_SIZES);
    prepare_kept_plans();
}

void arm_statement_timeout() {
    if (StatementTimeout <= 0) {
        disable_timeout(STATEMENT_TIMEOUT, false);
    } else if (!get_timeout_active(STATEMENT_TIMEOUT)) {
        enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
    }
}

void run_statements(const char* command, StatementTag* tag) {
    MemoryContextReset(MessageContext);
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    arm_statement_timeout();
    MemoryContextSwitchTo(MessageContext);
    if (CachedPlanSource* kept = kept_plan(command)) return run_kept(kept, command, tag);
    List* statements = pg_parse_query(command);
    // Statements about prepared transactions have effects without a commit of the run before them,
    // in which the run's row could be marked as not transactional. So mark it in a commit now.
    if (has_two_phase(statements)) {
        CommitTransactionCommand();
        StartTransactionCommand();
        MemoryContextSwitchTo(MessageContext);
    }
    const bool alone = list_length(statements) == 1;
    ListCell* cell = nullptr;
    const Node* last = nullptr;
    foreach (cell, statements) {
        RawStmt* statement = lfirst_node(RawStmt, cell);
        CHECK_FOR_INTERRUPTS();
        arm_statement_timeout();
        if (!alone) BeginImplicitTransactionBlock();
        MemoryContextSwitchTo(MessageContext);
        CachedPlanSource* kept = alone ? keep_plan(command, statement) : nullptr;
        if (kept != nullptr) {
            run_kept(kept, command, tag);
        } else {
            run_statement(statement, command, alone, tag);
        }
        MemoryContextSwitchTo(MessageContext);
        last = statement->stmt;
        if (lnext(statements, cell) != nullptr) between_statements(last);
    }
    if (last == nullptr) return;
    if (!alone) EndImplicitTransactionBlock();
    after_statements(last);
}

void run_deferred() {
    disable_timeout(STATEMENT_TIMEOUT, false);  // as after a query of a client
    do {
        AfterTriggerFireDeferred();
    } while (PreCommit_Portals(false));
}

}  // namespace securatlas::pg
