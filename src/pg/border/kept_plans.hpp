// Plans of commands that this session has executed before, so that the short runs of a job, or of
// jobs with the same command, are not parsed, analyzed and planned one by one. C world.
#pragma once

#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "nodes/parsenodes.h"
#include "utils/plancache.h"
}

namespace securatlas::pg {

// Call once in each process.
void prepare_kept_plans();

// What keep_plan() has made of this command some seconds ago at most, if nothing has happened since
// by which the same command could mean something else now. Null: it has to be parsed.
CachedPlanSource* kept_plan(const char* command);

// For a command that is this statement and nothing else: the source of its plan, which is kept for
// the next time if that may be. Null: it has to be planned as usual, because its kind is not kept,
// or because it is the first time.
CachedPlanSource* keep_plan(const char* command, RawStmt* parsed);

}  // namespace securatlas::pg
