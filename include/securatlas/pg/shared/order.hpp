// Orders that a scheduler gives to a job worker, and the worker's reports. All of them are plain
// data, which processes copy from and to shared memory.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <variant>

#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::pg {

using DatabaseOid = std::uint32_t;
using RoleOid = std::uint32_t;
using Pid = std::int32_t;

// The database and role that a job worker is bound to for life.
struct Target {
    DatabaseOid database = 0;
    RoleOid role = 0;
    friend auto operator<=>(const Target&, const Target&) = default;
};

// ---- orders --------------------------------------------------------------------------------

// An order to execute a run.
struct RunOrder {
    core::RunId run{};
    core::Occurrence occurrence;
    bool logged = true;        // it has a row in cron.job_run_details
    std::uint32_t parcel = 0;  // for a run in another database: the Parcel with its command
    core::Instant rank{};      // among the runs of its target, by its job's priority
    // Alerts by which it was late before this were told while it waited.
    core::Instant late_is_told_until = core::kLongAgo;
};

// What a worker calls for a role beside its runs: the callbacks of its requests, or what its alerts
// have to tell.
enum class Calls : std::int32_t { callbacks, alerts };

// An order to make the calls of a role that are due, one after another.
struct CallbackOrder {
    RoleOid role = 0;
    Calls calls = Calls::callbacks;
    core::Instant due{};  // when the first of them was due
};

using Order = std::variant<RunOrder, CallbackOrder>;

// ---- reports -------------------------------------------------------------------------------

inline constexpr std::size_t kReportTextSize = 2048;

// How a run ended.
struct RunReport {
    RunOrder order;
    bool died = false;  // the worker's process ended before the run did
    core::RunOutcome outcome = core::RunOutcome::failed;
    bool recorded = false;  // the outcome is in the run's row; if not, the scheduler writes it
    bool transactional = true;
    Pid pid = 0;
    core::Instant started_at{};  // kLongAgo: it never started
    core::Instant ended_at{};
    std::array<char, 6> sqlstate{};
    std::array<char, 64> reason{};
    // PostgreSQL's number of the message's encoding; -1: that of the database.
    std::int32_t encoding = -1;
    std::array<char, kReportTextSize> message{};
};

// The call of one callback.
struct CallbackCall {
    std::int64_t response = 0;  // whose callback it is
    bool is_counted = false;    // its row counted this attempt before the call began
};

// How an order for callbacks ended.
struct CallbackReport {
    CallbackOrder order;
    bool finished = false;  // the worker called all that were due, and knows when the next one is
    core::Instant next_due = core::kNever;  // if it finished; kNever: none waits
    // If not finished: the call in progress when the worker's process ended, and the error that
    // ended it.
    std::optional<CallbackCall> interrupted;
    std::array<char, kReportTextSize> message{};
};

// A run whose end is in its row, so that the scheduler needs to know little of it.
struct RecordedEnd {
    RunOrder order;
    core::RunOutcome outcome = core::RunOutcome::failed;
    std::array<char, 6> sqlstate{};
    core::Instant started_at{};  // kLongAgo: it never started
    core::Instant ended_at{};
};

// An order that its worker has not begun, for another worker of this target.
struct ReturnedOrder {
    Order order;
    Target target;
};

using WorkerReport = std::variant<RunReport, CallbackReport, ReturnedOrder, RecordedEnd>;

static_assert(std::is_trivially_copyable_v<Order>);
static_assert(std::is_trivially_copyable_v<WorkerReport>);
static_assert(std::is_trivially_copyable_v<std::optional<CallbackCall>>);

// Copies a text into a fixed buffer, truncated if necessary and terminated by a zero byte.
template <std::size_t N>
void assign_text(std::array<char, N>& to, std::string_view from) {
    const std::size_t length = from.size() < N ? from.size() : N - 1;
    for (std::size_t i = 0; i < length; ++i) to[i] = from[i];
    to[length] = '\0';
}

}  // namespace securatlas::pg
