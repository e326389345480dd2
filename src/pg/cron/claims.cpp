// New rows of the history for what is due: claims, and occurrences that are skipped.
#include <utility>

#include "border/spi.hpp"
#include "cron/claim_rows.hpp"
#include "cron/read_run_rows.hpp"
#include "cron/run_texts.hpp"

namespace securatlas::pg::runs {
namespace {

// Occurrences as parallel arrays, the parameters of set-based statements.
struct Columns {
    std::vector<std::int64_t> jobs;
    std::vector<core::Instant> scheduled;
    std::vector<std::int32_t> attempts;
    std::vector<std::string> triggers;
    std::vector<std::string> reasons;

    void add(const core::Occurrence& occurrence, std::string reason) {
        jobs.push_back(static_cast<std::int64_t>(occurrence.job));
        scheduled.push_back(occurrence.scheduled_at);
        attempts.push_back(occurrence.attempt);
        triggers.emplace_back(trigger_text(occurrence.trigger));
        reasons.push_back(std::move(reason));
    }
};

// A row that somebody is deleting counts as one that is there: ON CONFLICT alone would wait to see
// whether it stays. The order asks for the unique index: if the history was empty when this was
// planned, another index of jobid would cost as much, and all runs of the job would be read.
void claim_logged(const Columns& columns, std::vector<RunRow>& rows) {
    static Statement statement(R"(
INSERT INTO cron.job_run_details AS r (jobid, database, username, command, status, jobname,
                                       scheduled_at, attempt, trigger, reason)
SELECT j.jobid, j.database, COALESCE(pg_get_userbyid(j.roleid), j.username), j.command, 'starting', j.jobname,
       c.scheduled_at, c.attempt, c.trigger, c.reason
  FROM unnest($1, $2, $3, $4, $5) AS c(jobid, scheduled_at, attempt, trigger, reason)
  JOIN cron.job j ON j.jobid = c.jobid
 WHERE j.log_runs <> 'none'
   AND (SELECT true FROM cron.job_run_details d
             WHERE (d.jobid, d.attempt) = (c.jobid, c.attempt)
               AND d.scheduled_at BETWEEN c.scheduled_at AND c.scheduled_at
             ORDER BY d.scheduled_at LIMIT 1) IS NULL
ON CONFLICT (jobid, scheduled_at, attempt) DO NOTHING
RETURNING r.runid, r.jobid, r.scheduled_at, r.attempt, r.trigger, r.database, r.username,
          r.roleid, (SELECT k.log_runs = 'all' FROM cron.job k WHERE k.jobid = r.jobid))",
                               Plan::by_keys);
    statement.execute({Parameter::of(columns.jobs), Parameter::of(columns.scheduled),
                       Parameter::of(columns.attempts), Parameter::of(columns.triggers),
                       Parameter::of(columns.reasons)});
    Statement::each_row([&](const Row& row) {
        rows.push_back(run_row(row, true));
        rows.back().row_stays = row.as_bool(9);
    });
}

void claim_unlogged(const Columns& columns, bool log_runs, std::vector<RunRow>& rows) {
    static Statement statement(R"(
SELECT nextval('cron.runid_seq'), j.jobid, c.scheduled_at, c.attempt, c.trigger, j.database,
       j.username, j.roleid
  FROM unnest($1, $2, $3, $4) AS c(jobid, scheduled_at, attempt, trigger)
  JOIN cron.job j ON j.jobid = c.jobid
 WHERE j.log_runs = 'none' OR NOT $5)",
                               Plan::by_keys);
    statement.execute({Parameter::of(columns.jobs), Parameter::of(columns.scheduled),
                       Parameter::of(columns.attempts), Parameter::of(columns.triggers),
                       Parameter::of(log_runs)});
    append_rows(rows, false);
}

std::vector<RunRow> claim_by_statement(const std::vector<core::ClaimRun>& claims, bool log_runs) {
    Columns columns;
    for (const core::ClaimRun& claim : claims) columns.add(claim.occurrence, claim.reason);
    std::vector<RunRow> rows;
    rows.reserve(claims.size());
    Spi spi;
    if (log_runs) claim_logged(columns, rows);
    // What is left has a run already, or belongs to a job that is not logged.
    if (rows.size() < claims.size()) claim_unlogged(columns, log_runs, rows);
    return rows;
}

std::optional<std::vector<RunRow>> claim_past_executor(const std::vector<core::ClaimRun>& claims) {
    std::vector<NewRow> wanted;
    wanted.reserve(claims.size());
    for (const core::ClaimRun& claim : claims) wanted.push_back({&claim.occurrence, &claim.reason});
    auto made = insert_past_executor(wanted, NewStatus::starting);
    if (!made) return std::nullopt;
    std::vector<RunRow> rows;
    rows.reserve(claims.size());
    Columns unlogged;
    for (std::size_t i = 0; i < claims.size(); ++i) {
        MadeRow& row = (*made)[i];
        if (row.state == MadeRow::State::written) rows.push_back(std::move(row.row));
        if (row.state == MadeRow::State::unlogged) unlogged.add(claims[i].occurrence, {});
    }
    if (!unlogged.jobs.empty()) {
        Spi spi;
        claim_unlogged(unlogged, true, rows);
    }
    return rows;
}

std::string reason_of(const core::RecordSkip& skip) {
    if (skip.count == 1) return skip.reason;
    return skip.reason + " (" + std::to_string(skip.count) + " occurrences)";
}

RecordedSkips record_skips_by_statement(const std::vector<core::RecordSkip>& skips) {
    static Statement statement(R"(
WITH wanted AS (
    SELECT * FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY
               AS c(jobid, scheduled_at, attempt, trigger, reason, number)),
recorded AS (
    INSERT INTO cron.job_run_details (jobid, database, username, command, status, jobname,
                                      scheduled_at, attempt, trigger, reason, start_time, end_time)
    SELECT j.jobid, j.database, COALESCE(pg_get_userbyid(j.roleid), j.username), j.command, 'skipped', j.jobname,
           c.scheduled_at, c.attempt, c.trigger, c.reason, t.now, t.now
      FROM wanted c
      JOIN cron.job j ON j.jobid = c.jobid, clock_timestamp() AS t(now)
     WHERE j.log_runs <> 'none'
       AND (SELECT true FROM cron.job_run_details d
             WHERE (d.jobid, d.attempt) = (c.jobid, c.attempt)
               AND d.scheduled_at BETWEEN c.scheduled_at AND c.scheduled_at
             ORDER BY d.scheduled_at LIMIT 1) IS NULL
    ON CONFLICT (jobid, scheduled_at, attempt) DO NOTHING
    RETURNING jobid, scheduled_at, attempt)
SELECT c.number, j.log_runs <> 'none' FROM wanted c JOIN cron.job j ON j.jobid = c.jobid
 WHERE j.log_runs = 'none'
    OR (c.jobid, c.scheduled_at, c.attempt) IN (SELECT jobid, scheduled_at, attempt FROM recorded)
 ORDER BY c.number)");
    Columns columns;
    for (const core::RecordSkip& skip : skips) columns.add(skip.occurrence, reason_of(skip));
    RecordedSkips recorded;
    Spi spi;
    statement.execute({Parameter::of(columns.jobs), Parameter::of(columns.scheduled),
                       Parameter::of(columns.attempts), Parameter::of(columns.triggers),
                       Parameter::of(columns.reasons)});
    Statement::each_row([&](const Row& row) {
        auto& those = row.as_bool(2) ? recorded.logged : recorded.unlogged;
        those.push_back(skips[static_cast<std::size_t>(row.as_int64(1)) - 1]);
    });
    return recorded;
}

std::optional<RecordedSkips> record_skips_past_executor(
    const std::vector<core::RecordSkip>& skips) {
    std::vector<std::string> reasons;
    std::vector<NewRow> wanted;
    reasons.reserve(skips.size());
    wanted.reserve(skips.size());
    for (const core::RecordSkip& skip : skips) {
        reasons.push_back(reason_of(skip));
        wanted.push_back({&skip.occurrence, &reasons.back()});
    }
    const auto made = insert_past_executor(wanted, NewStatus::skipped);
    if (!made) return std::nullopt;
    RecordedSkips recorded;
    for (std::size_t i = 0; i < skips.size(); ++i) {
        const auto state = (*made)[i].state;
        if (state == MadeRow::State::written) recorded.logged.push_back(skips[i]);
        if (state == MadeRow::State::unlogged) recorded.unlogged.push_back(skips[i]);
    }
    return recorded;
}

}  // namespace

std::vector<RunRow> claim(const std::vector<core::ClaimRun>& claims, bool log_runs, Way way) {
    if (log_runs && way == Way::past_executor) {
        if (auto rows = claim_past_executor(claims)) return std::move(*rows);
    }
    return claim_by_statement(claims, log_runs);
}

RecordedSkips record_skips(const std::vector<core::RecordSkip>& skips, Way way) {
    if (way == Way::past_executor) {
        if (auto recorded = record_skips_past_executor(skips)) return std::move(*recorded);
    }
    return record_skips_by_statement(skips);
}

}  // namespace securatlas::pg::runs
