// New rows of cron.job without plan and executor, because starting the executor for a single row
// takes longer than writing it: it reads the table's CHECK constraints and defaults from the
// catalog and prepares them each time.
#pragma once

#include <cstdint>
#include <optional>

#include "securatlas/pg/cron/jobs.hpp"

namespace securatlas::pg::jobs {

// Inserts a job as INSERT by the extension's owner would. nullopt: nothing was written, and it
// needs the statement, because there is a job of this name and role, or because somebody has added
// something to the table that INSERT would heed and this does not.
std::optional<std::int64_t> insert_past_executor(const Definition& definition);

}  // namespace securatlas::pg::jobs
