// Past the executor, by the place where the row was when it was read: starting a statement, finding
// the row by its key and locking it before it is deleted would take several times as long. If
// somebody has added to the table what a DELETE would heed, it is a DELETE.
#include "net/ended_rows.hpp"

#include <unordered_map>

#include "border/spi.hpp"
#include "net/queue_columns.hpp"
#include "securatlas/pg/net/requests.hpp"

extern "C" {
#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg::requests {
namespace {

// ---- C world ---------------------------------------------------------------------------------

constexpr int kOffsetBits = 16;

ItemPointerData place_of(std::int64_t number) {
    ItemPointerData place;
    ItemPointerSet(&place, static_cast<BlockNumber>(number >> kOffsetBits),
                   static_cast<OffsetNumber>(number & ((1 << kOffsetBits) - 1)));
    return place;
}

// The queue, and what is needed for one row after the other.
struct Queue {
    Relation table;
    Snapshot snapshot;
    TupleTableSlot* slot;
    BlockNumber blocks;
    Datum* values;  // of one row
    bool* nulls;
};

constexpr AttrNumber number_of(queue::Column column) { return static_cast<AttrNumber>(column + 1); }

// The row, if it is still where it was.
HeapTuple row_at_place(const Queue& queue, std::int64_t id, std::int64_t number) {
    if (number == 0) return nullptr;
    ItemPointerData place = place_of(number);
    // The table may have been truncated since.
    if (ItemPointerGetBlockNumber(&place) >= queue.blocks) return nullptr;
    if (!table_tuple_fetch_row_version(queue.table, &place, queue.snapshot, queue.slot)) {
        return nullptr;
    }
    bool is_null = false;
    const Datum found = slot_getattr(queue.slot, number_of(queue::kId), &is_null);
    const bool is_same = !is_null && DatumGetInt64(found) == id;
    HeapTuple row = is_same ? ExecCopySlotHeapTuple(queue.slot) : nullptr;
    ExecClearTuple(queue.slot);
    return row;
}

// Values in the table of long values are deleted with the row.
Datum whole(Datum value) {
    auto* pointer = reinterpret_cast<varlena*>(DatumGetPointer(value));
    return VARATT_IS_EXTERNAL(pointer) ? PointerGetDatum(detoast_external_attr(pointer)) : value;
}

void fill(EndedRow& ended, HeapTuple row, const Queue& queue) {
    heap_deform_tuple(row, RelationGetDescr(queue.table), queue.values, queue.nulls);
    const auto plain = [&](queue::Column column) {
        return Value{queue.values[column], queue.nulls[column]};
    };
    const auto text = [&](queue::Column column) {
        const Value value = plain(column);
        return value.is_null ? value : Value{whole(value.datum), false};
    };
    ended.method = text(queue::kMethod);
    ended.url = text(queue::kUrl);
    ended.runid = plain(queue::kRunId);
    ended.created_by = plain(queue::kCreatedBy);
    ended.idempotency_key = text(queue::kIdempotencyKey);
    ended.on_response = text(queue::kOnResponse);
    ended.store_response = text(queue::kStoreResponse);
    ended.on_response_owner = plain(queue::kOnResponseOwner);
    ended.host = text(queue::kHost);
    ended.created = plain(queue::kCreated);
}

EndedRow take_row(const Queue& queue, std::int64_t id, std::int64_t number) {
    EndedRow ended{};
    HeapTuple row = row_at_place(queue, id, number);
    if (row == nullptr) row = find_row(queue.table, number_of(queue::kId), id, queue.snapshot);
    if (row == nullptr) return ended;
    fill(ended, row, queue);
    const bool is_deleted = delete_row(queue.table, &row->t_self, queue.snapshot);
    ended.state = is_deleted ? EndedRow::State::taken : EndedRow::State::locked;
    return ended;
}

// False: the table is to be changed by statements only.
bool take_all(const std::vector<core::EndedRequest>& ended, EndedRow* rows) {
    Relation table = open_table("net", "http_request_queue", RowExclusiveLock);
    const auto columns = static_cast<std::size_t>(RelationGetDescr(table)->natts);
    const bool is_plain = columns >= queue::kColumnCount && is_plainly_deleted(table);
    if (is_plain) {
        const Snapshot snapshot = GetTransactionSnapshot();
        PushActiveSnapshot(snapshot);
        Queue queue{table,
                    GetActiveSnapshot(),
                    table_slot_create(table, nullptr),
                    RelationGetNumberOfBlocks(table),
                    static_cast<Datum*>(palloc(columns * sizeof(Datum))),
                    static_cast<bool*>(palloc(columns * sizeof(bool)))};
        for (const core::EndedRequest& one : ended) {
            *rows++ = take_row(queue, static_cast<std::int64_t>(one.id), one.place);
        }
        ExecDropSingleTupleTableSlot(queue.slot);
        PopActiveSnapshot();
    }
    table_close(table, NoLock);
    return is_plain;
}

// A value of a result that outlives it.
Value kept(const Row& row, int column, int length, bool by_value) {
    if (row.is_null(column)) return {Datum{0}, true};
    MemoryContext caller = MemoryContextSwitchTo(CurTransactionContext);
    const Datum copy = datumCopy(row.value(column), by_value, length);
    MemoryContextSwitchTo(caller);
    return {copy, false};
}

// ---- C++ world -------------------------------------------------------------------------------

std::vector<EndedRow> take_by_statement(const std::vector<core::EndedRequest>& ended) {
    static Statement statement(R"(
DELETE FROM net.http_request_queue WHERE id = ANY ($1) AND id <> ALL ($2)
RETURNING id, method, url, runid, created_by, idempotency_key, on_response, store_response,
          on_response_owner, host, created)");
    std::vector<std::int64_t> ids;
    for (const core::EndedRequest& one : ended) ids.push_back(static_cast<std::int64_t>(one.id));
    const std::vector<std::int64_t> locked = lock_requests(ids);
    std::unordered_map<std::int64_t, EndedRow> taken;
    for (const std::int64_t id : locked) taken[id].state = EndedRow::State::locked;
    Spi spi;
    statement.execute({Parameter::of(ids), Parameter::of(locked)});
    Statement::each_row([&taken](const Row& row) {
        const auto text = [&row](int column) {
            return call([&row, column] { return kept(row, column, -1, false); });
        };
        const auto number = [&row](int column, int length) {
            return call([&row, column, length] { return kept(row, column, length, true); });
        };
        taken[row.as_int64(1)] = {.state = EndedRow::State::taken,
                                  .method = text(2),
                                  .url = text(3),
                                  .runid = number(4, sizeof(std::int64_t)),
                                  .created_by = number(5, sizeof(Oid)),
                                  .idempotency_key = text(6),
                                  .on_response = text(7),
                                  .store_response = text(8),
                                  .on_response_owner = number(9, sizeof(Oid)),
                                  .host = text(10),
                                  .created = number(11, sizeof(TimestampTz))};
    });
    std::vector<EndedRow> rows;
    rows.reserve(ended.size());
    for (const std::int64_t id : ids) rows.push_back(taken[id]);
    return rows;
}

}  // namespace

std::int64_t place_number(Datum tid) {
    const auto* place = reinterpret_cast<ItemPointer>(DatumGetPointer(tid));
    return (static_cast<std::int64_t>(ItemPointerGetBlockNumber(place)) << kOffsetBits) |
           ItemPointerGetOffsetNumber(place);
}

std::vector<EndedRow> take_rows(const std::vector<core::EndedRequest>& ended) {
    std::vector<EndedRow> rows(ended.size());
    const bool are_taken = call([&ended, &rows] { return take_all(ended, rows.data()); });
    return are_taken ? rows : take_by_statement(ended);
}

}  // namespace securatlas::pg::requests
