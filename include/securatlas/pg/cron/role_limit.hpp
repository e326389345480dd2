// cron.max_running_jobs_per_role, as it is set for a role.
#pragma once

#include "securatlas/pg/shared/order.hpp"

namespace securatlas::pg {

// How many workers may execute orders of the target's role at the same time, as a session of the
// target would have the setting; 0: no limit of its own. Needs a transaction.
int role_limit(const Target& target);

}  // namespace securatlas::pg
