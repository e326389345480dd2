// New rows of the history for the scheduler, past the executor: of each hundred or so that it
// claims, the statement would look for each occurrence three times and enter each row by itself.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::pg::runs {

struct NewRow {
    const core::Occurrence* occurrence;
    const std::string* reason;  // empty: none
};

// What became of an occurrence.
struct MadeRow {
    enum class State {
        no_job,    // its job is gone
        unlogged,  // its job has log_runs = none
        written,
    };
    State state;
    RunRow row;  // if it was written
};

enum class NewStatus { starting, skipped };

// As claim() and record_skips() insert them by statements. nullopt: nothing was written, and it
// takes the statement, because of what somebody has added to the tables. Throws MayBeTaken.
std::optional<std::vector<MadeRow>> insert_past_executor(std::span<const NewRow> rows,
                                                         NewStatus status);

}  // namespace securatlas::pg::runs
