// How far long work is, for cron_stat.progress: what PostgreSQL's pg_stat_progress_* are for its
// own commands. A process has one row of each kind at most; requests of a run have one until the
// last was recorded.
//
// Small work costs nothing: who counts in portions begins a row with the first full one. Nothing
// here fails; if all rows are taken, work is not shown.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/order.hpp"

namespace securatlas::pg::progress {

// Of which on work is long that is counted one by one.
inline constexpr std::int64_t kLong = 1000;
inline constexpr std::int64_t kUnknown = -1;

// What a process does in one transaction, and what the scheduler does in many. The first is shown
// until its transaction ends, or the subtransaction is rolled back that has begun it; the others
// until end(). In any case a row goes with its process.
enum class Kind : std::uint8_t { of_transaction, history_purge, response_purge, count };

// This process does this from now on; what it did before has ended. Only printable ASCII of the
// texts is shown, 31 bytes at most.
void begin(std::string_view work, std::string_view phase, std::int64_t total,
           Kind kind = Kind::of_transaction);
// So much more is done; does nothing before begin().
void advance(std::int64_t amount, Kind kind = Kind::of_transaction) noexcept;
void end(Kind kind) noexcept;

// A transaction with requests of a run has committed them; those of small ones are not shown.
void requests_made(DatabaseOid database, std::int64_t run, std::int64_t count) noexcept;
// A request of a run has ended; it is counted if the transaction commits.
void request_ended(std::int64_t run);
// No request of this database is left.
void forget_requests(DatabaseOid database) noexcept;

struct Row {
    DatabaseOid database = 0;
    Pid pid = 0;           // 0: requests of a run
    std::int64_t run = 0;  // 0: none
    std::array<char, 32> work{};
    std::array<char, 32> phase{};
    std::int64_t done = 0;
    std::int64_t total = kUnknown;
    core::Instant started{};
};

// Of all databases. Throws Error 55000 if the library is not preloaded.
std::vector<Row> all();

}  // namespace securatlas::pg::progress
