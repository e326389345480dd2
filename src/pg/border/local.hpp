// Small helpers of this layer. C world.
#pragma once

#include "securatlas/pg/border/prelude.hpp"

namespace securatlas::pg {

// Sets a setting for this process, above what users, roles and databases have set.
void set_for_process(const char* name, const char* value);

// True if the role exists and has LOGIN.
bool role_may_log_in(Oid role);

}  // namespace securatlas::pg
