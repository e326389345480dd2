// The trigger on the tables of requests and responses that keeps replicated rows from being sent
// and from calling callbacks.
#include "entry_point.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/replication.hpp"

extern "C" {
#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
}

namespace pg = securatlas::pg;

namespace {

// C world. Makes a request wait forever, and saves its ready_at. Clears the role oids of requests
// and responses, which belong to another cluster.
HeapTuple put_aside(const TriggerData* trigger, HeapTuple row) {
    const TupleDesc description = trigger->tg_relation->rd_att;
    const int ready_at = SPI_fnumber(description, "ready_at");
    const bool is_request = ready_at != SPI_ERROR_NOATTRIBUTE;
    int columns[4] = {SPI_fnumber(description, "created_by")};
    Datum values[4] = {};
    bool nulls[4] = {true};
    int count = 1;
    if (is_request) {
        columns[count] = SPI_fnumber(description, "on_response_owner");
        nulls[count++] = true;
        columns[count] = SPI_fnumber(description, "replicated_ready_at");
        values[count++] = SPI_getbinval(row, description, ready_at, &nulls[2]);
        columns[count] = ready_at;
        values[count++] = TimestampTzGetDatum(DT_NOEND);
    }
    return heap_modify_tuple_by_cols(row, description, count, columns, values, nulls);
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_row_replicated);

PGDLLEXPORT Datum securatlas_row_replicated(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] {
        if (!CALLED_AS_TRIGGER(fcinfo)) {
            throw pg::Error("39P01", "the function can only be called as a trigger");
        }
        const auto* trigger = reinterpret_cast<const TriggerData*>(fcinfo->context);
        HeapTuple row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
                                                                   : trigger->tg_trigtuple;
        if (!pg::is_replicated_change()) return PointerGetDatum(row);
        return pg::call([=] { return PointerGetDatum(put_aside(trigger, row)); });
    });
}

}  // extern "C"
