// What INSERT heeds of a table's definition, for code that inserts past the executor. C world.
#pragma once

#include <cstdint>

#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "nodes/execnodes.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
}

namespace securatlas::pg {

// Whether the trigger is of this name, for each row, without a condition, and for INSERT at this
// time (TRIGGER_TYPE_BEFORE or _AFTER).
bool is_row_trigger_of_insert(const Trigger& trigger, const char* name, std::int16_t timing);

// By column; null: none. In the current memory context. Null if one of them calls functions of
// users, or if a column is generated or of a type of users: that may be a domain, which has
// constraints of its own.
ExprState** prepare_defaults(Relation table, EState* state);

// Sets all columns to their defaults. The values live until the per-tuple memory of `state` is
// reset.
void set_defaults(TupleTableSlot* slot, ExprState* const* defaults, EState* state);

}  // namespace securatlas::pg
