// SQL functions behind the views that show HTTP requests, their worker and their hosts; and
// net.cancel_request().
#include <algorithm>

#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/net/cancel_request.hpp"
#include "securatlas/pg/net/settings.hpp"
#include "securatlas/pg/net/visible_hosts.hpp"
#include "securatlas/pg/shared/http_table.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/tuplestore.h"
}

namespace core = securatlas::core;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

// ---- values; all C world ---------------------------------------------------------------------

Datum instant_datum(core::Instant time) { return TimestampTzGetDatum(pg::to_timestamp(time)); }

Datum milliseconds_datum(core::Duration duration) {
    return Float8GetDatum(static_cast<double>(duration.count()) / 1000.0);
}

Datum breaker_datum(core::BreakerState breaker) {
    switch (breaker) {
        case core::BreakerState::closed:
            return CStringGetTextDatum("closed");
        case core::BreakerState::open:
            return CStringGetTextDatum("open");
        case core::BreakerState::half_open:
            return CStringGetTextDatum("half_open");
    }
    return CStringGetTextDatum("");
}

Datum bigint_array(const std::vector<std::int64_t>& values) {
    auto* datums = static_cast<Datum*>(palloc(sizeof(Datum) * (values.size() + 1)));
    std::transform(values.begin(), values.end(), datums,
                   [](std::int64_t value) { return Int64GetDatum(value); });
    return PointerGetDatum(construct_array(datums, static_cast<int>(values.size()), INT8OID, 8,
                                           true, TYPALIGN_DOUBLE));
}

// The columns of net._worker_status, in order.
Datum worker_row(FunctionCallInfo fcinfo, const pg::HttpWorkerStatus& worker, bool all,
                 bool sends) {
    TupleDesc description = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE) {
        elog(ERROR, "return type must be a row type");
    }
    Datum values[] = {Int32GetDatum(worker.pid),
                      instant_datum(worker.started),
                      Int64GetDatum(worker.in_flight),
                      Int64GetDatum(worker.waiting),
                      Int64GetDatum(worker.sent),
                      Int64GetDatum(worker.failed),
                      CStringGetTextDatum(worker.last_error.c_str()),
                      instant_datum(worker.updated),
                      BoolGetDatum(sends)};
    bool nulls[] = {worker.pid == 0,
                    worker.started == core::kLongAgo,
                    false,
                    false,
                    false,
                    false,
                    !all || worker.last_error.empty(),
                    worker.updated == core::kLongAgo,
                    false};
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls));
}

// The columns of net._host_status, in order.
void put_host(const ReturnSetInfo* result, const pg::HostStatus& host, bool all) {
    Datum values[] = {CStringGetTextDatum(host.host.c_str()),
                      Int32GetDatum(host.in_flight),
                      Int64GetDatum(host.requests),
                      Int64GetDatum(host.failures),
                      BoolGetDatum(host.limited),
                      breaker_datum(host.breaker),
                      instant_datum(host.next_try),
                      milliseconds_datum(host.p50.value_or(core::Duration(0))),
                      milliseconds_datum(host.p95.value_or(core::Duration(0))),
                      CStringGetTextDatum(host.last_error.c_str()),
                      instant_datum(host.updated)};
    bool nulls[] = {false,
                    false,
                    false,
                    false,
                    false,
                    false,
                    host.breaker == core::BreakerState::closed || host.next_try == core::kNever,
                    !host.p50,
                    !host.p95,
                    !all || host.last_error.empty(),
                    false};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

// ---- why a request waits ---------------------------------------------------------------------

enum class HostState : std::int32_t { limited, breaker_open };

// Cached for one use of the function in a query: the hosts that delay requests. Plain data in the
// memory of the function call.
struct WaitReasons {
    struct Host {
        HostState state;
        char name[256];
    };
    bool worker_is_up;
    bool sends;
    int count;
    Host hosts[FLEXIBLE_ARRAY_MEMBER];
};

const WaitReasons* load_wait_reasons(FunctionCallInfo fcinfo) {
    const pg::DatabaseOid database = pg::current_database();
    std::vector<pg::HostStatus> hosts = pg::HttpTable::hosts(database);
    std::erase_if(hosts, [](const pg::HostStatus& host) {
        return !host.limited && host.breaker == core::BreakerState::closed;
    });
    if (!pg::may_see_all_statistics()) hosts = pg::visible_hosts(std::move(hosts));
    const bool worker_is_up = pg::DatabaseTable::http_worker_pid(database) != 0;
    const bool sends = pg::net_settings().send_requests;
    return pg::call([&] {
        auto* reasons = static_cast<WaitReasons*>(MemoryContextAllocZero(
            fcinfo->flinfo->fn_mcxt,
            offsetof(WaitReasons, hosts) + hosts.size() * sizeof(WaitReasons::Host)));
        reasons->worker_is_up = worker_is_up;
        reasons->sends = sends;
        for (const pg::HostStatus& host : hosts) {
            WaitReasons::Host& entry = reasons->hosts[reasons->count++];
            entry.state = host.breaker == core::BreakerState::closed ? HostState::limited
                                                                     : HostState::breaker_open;
            strlcpy(entry.name, host.host.c_str(), sizeof entry.name);
        }
        return static_cast<const WaitReasons*>(reasons);
    });
}

const char* wait_reason(FunctionCallInfo fcinfo, const WaitReasons& reasons) {
    if (!reasons.sends) return "net.send_requests is off";
    const TimestampTz ready_at = PG_GETARG_TIMESTAMPTZ(1);
    if (ready_at > GetCurrentTimestamp()) {
        return PG_GETARG_INT32(2) == 0 ? "not before its time" : "pause before its next attempt";
    }
    if (!reasons.worker_is_up) return "the http worker is not running";
    const text* host = PG_GETARG_TEXT_PP(0);
    const std::string_view name(VARDATA_ANY(host), VARSIZE_ANY_EXHDR(host));
    for (int i = 0; i < reasons.count; ++i) {
        if (name != reasons.hosts[i].name) continue;
        switch (reasons.hosts[i].state) {
            case HostState::limited:
                return "limit of its host";
            case HostState::breaker_open:
                return "breaker of its host is open";
        }
    }
    return "waiting for a slot";
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_cancel_request);
PG_FUNCTION_INFO_V1(securatlas_requests_in_flight);
PG_FUNCTION_INFO_V1(securatlas_wait_reason);
PG_FUNCTION_INFO_V1(securatlas_http_worker_status);
PG_FUNCTION_INFO_V1(securatlas_host_status);

PGDLLEXPORT Datum securatlas_cancel_request(PG_FUNCTION_ARGS) {
    return ext::entry_point(
        [fcinfo] { return BoolGetDatum(pg::requests::cancel(PG_GETARG_INT64(0))); });
}

PGDLLEXPORT Datum securatlas_requests_in_flight(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return ext::entry_point([] {
        auto ids = pg::HttpTable::in_flight(pg::current_database());
        if (!pg::may_see_all_statistics()) ids = pg::visible_requests(ids);
        return pg::call([&ids] { return bigint_array(ids); });
    });
}

PGDLLEXPORT Datum securatlas_wait_reason(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        if (fcinfo->flinfo->fn_extra == nullptr) {
            fcinfo->flinfo->fn_extra = const_cast<WaitReasons*>(load_wait_reasons(fcinfo));
        }
        const auto& reasons = *static_cast<const WaitReasons*>(fcinfo->flinfo->fn_extra);
        return pg::call([&] { return CStringGetTextDatum(wait_reason(fcinfo, reasons)); });
    });
}

PGDLLEXPORT Datum securatlas_http_worker_status(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const auto worker = pg::HttpTable::worker(pg::current_database());
        const bool all = pg::may_see_all_statistics();
        const bool sends = pg::net_settings().send_requests;
        return pg::call([&] { return worker_row(fcinfo, worker, all, sends); });
    });
}

PGDLLEXPORT Datum securatlas_host_status(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const bool all = pg::may_see_all_statistics();
        auto hosts = pg::HttpTable::hosts(pg::current_database());
        if (!all) hosts = pg::visible_hosts(std::move(hosts));
        pg::call([&] {
            InitMaterializedSRF(fcinfo, 0);
            const auto* result = reinterpret_cast<const ReturnSetInfo*>(fcinfo->resultinfo);
            for (const pg::HostStatus& host : hosts) put_host(result, host, all);
        });
        return Datum{0};
    });
}

}  // extern "C"
