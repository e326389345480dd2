// Runs among the rows that a statement returns.
#pragma once

#include <vector>

#include "border/spi.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::pg::runs {

// Of a result with the columns runid, jobid, scheduled_at, attempt, trigger, database, username,
// roleid
inline RunRow run_row(const Row& row, bool logged) {
    return {.run = core::RunId{row.as_int64(1)},
            .occurrence = {.job = core::JobId{row.as_int64(2)},
                           .scheduled_at = row.as_instant(3),
                           .attempt = row.as_int32(4),
                           .trigger = trigger_of(row.as_text(5))},
            .database = row.as_text(6),
            .username = row.as_text(7),
            .role = row.is_null(8) ? RoleOid{0} : row.as_oid(8),
            .logged = logged,
            .row_stays = logged};
}

inline void append_rows(std::vector<RunRow>& rows, bool logged) {
    Statement::each_row([&](const Row& row) { rows.push_back(run_row(row, logged)); });
}

}  // namespace securatlas::pg::runs
