#include "border/plain_insert.hpp"

#include <cstring>

#include "border/keyed_row.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_trigger.h"
#include "executor/executor.h"
#include "rewrite/rewriteHandler.h"
}

namespace securatlas::pg {
namespace {

bool is_plain_column(const FormData_pg_attribute* column) {
    return column->attgenerated == '\0' && column->attidentity == '\0' &&
           column->atttypid < FirstUnpinnedObjectId;
}

}  // namespace

bool is_row_trigger_of_insert(const Trigger& trigger, const char* name, std::int16_t timing) {
    return TRIGGER_TYPE_MATCHES(trigger.tgtype, TRIGGER_TYPE_ROW, timing, TRIGGER_TYPE_INSERT) &&
           trigger.tgqual == nullptr && strcmp(trigger.tgname, name) == 0;
}

ExprState** prepare_defaults(Relation table, EState* state) {
    TupleDesc columns = RelationGetDescr(table);
    auto* defaults = static_cast<ExprState**>(
        palloc0(sizeof(ExprState*) * static_cast<std::size_t>(columns->natts)));
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        if (column->attisdropped) continue;
        if (!is_plain_column(column)) return nullptr;
        Node* const expression = build_column_default(table, i + 1);
        if (calls_user_code(expression)) return nullptr;
        if (expression != nullptr) {
            defaults[i] = ExecPrepareExpr(reinterpret_cast<Expr*>(expression), state);
        }
    }
    return defaults;
}

void set_defaults(TupleTableSlot* slot, ExprState* const* defaults, EState* state) {
    ExprContext* const context = GetPerTupleExprContext(state);
    for (int i = 0; i < slot->tts_tupleDescriptor->natts; ++i) {
        ExprState* const value = defaults[i];
        slot->tts_isnull[i] = true;
        if (value != nullptr) {
            slot->tts_values[i] = ExecEvalExprSwitchContext(value, context, &slot->tts_isnull[i]);
        }
    }
}

}  // namespace securatlas::pg
