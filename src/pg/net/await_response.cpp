#include "securatlas/pg/net/await_response.hpp"

#include "border/spi.hpp"
#include "securatlas/pg/border/waits.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

extern "C" {
#include "access/xact.h"
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "utils/guc.h"
}

namespace securatlas::pg::requests {
namespace {

// The http worker and net.cancel_request() broadcast the ends that they commit. There is no
// broadcast when a superuser deletes a row, nor on a standby.
constexpr long kLookAtLeastMs = 1000;

enum class State { recorded, queued, made_here, unknown };

State state_of(std::int64_t id) {
    static Statement query(R"(
SELECT EXISTS (SELECT FROM net._http_response r WHERE r.id OPERATOR(pg_catalog.=) $1),
       (SELECT q.xmin FROM net.http_request_queue q WHERE q.id OPERATOR(pg_catalog.=) $1))");
    State state = State::unknown;
    Spi spi;
    query.execute({Parameter::of(id)});
    Statement::each_row([&state](const Row& row) {
        if (row.as_bool(1)) {
            state = State::recorded;
        } else if (!row.is_null(2)) {
            const bool is_own =
                TransactionIdIsCurrentTransactionId(DatumGetTransactionId(row.value(2)));
            state = is_own ? State::made_here : State::queued;
        }
    });
    return state;
}

void check(State state, std::int64_t id) {
    if (state == State::made_here) {
        throw Error(
            "55000",
            "cannot wait for request " + std::to_string(id) + " in the transaction that made it",
            "A request is sent when its transaction commits.",
            "Commit, and wait for it in another transaction.");
    }
    if (!IsolationUsesXactSnapshot()) return;
    const std::string level =
        call([] { return GetConfigOption("transaction_isolation", false, false); });
    throw Error("55000", "cannot wait for a response in a " + level + " transaction", "",
                "Use READ COMMITTED.");
}

// Returns after a broadcast or after kLookAtLeastMs; throws at an interrupt.
void sleep(ConditionVariable* condition) {
    call([condition] {
        (void)ConditionVariableTimedSleep(condition, kLookAtLeastMs, wait_event(Wait::response));
    });
}

}  // namespace

bool await_response(std::int64_t id) {
    ConditionVariable* const recorded = &require_shared_state().http.recorded;
    call([recorded] { ConditionVariablePrepareToSleep(recorded); });
    State state = state_of(id);
    check(state, id);
    while (state == State::queued) {
        sleep(recorded);
        state = state_of(id);
    }
    call([] { (void)ConditionVariableCancelSleep(); });
    return state == State::recorded;
}

}  // namespace securatlas::pg::requests
