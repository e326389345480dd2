// Calls a callback, in a job worker. The middle part is C world: the user's function runs there,
// inside one call().
#include <cstring>

#include "border/keyed_row.hpp"
#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "border/statement_runner.hpp"
#include "border/user_code.hpp"
#include "net/callback_rules.hpp"
#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/core/net/header_rules.hpp"
#include "securatlas/pg/border/encoding.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/net/callback_function.hpp"
#include "securatlas/pg/net/callbacks.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/sealing.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"
}

namespace securatlas::pg::callbacks {
namespace {

// How long to wait when a due callback cannot be called because its row or the table is locked.
constexpr core::Duration kPauseForLocks = std::chrono::seconds(1);
// Error of a callback during its call; it is removed when the transaction ends.
constexpr const char* kInterrupted = "ERROR: the process that called it ended before it was done";

// A response whose callback is to be called; its row is locked.
struct Due {
    std::int64_t response = 0;
    std::string function;  // signature
    int attempts = 0;      // that have failed
    bool sealed = false;
    std::string sealed_body;
    std::string content_type;
    bool truncated = false;
    Datum row = 0;  // net._http_response; lives as long as the transaction
    Oid row_type = InvalidOid;
    std::optional<RoleOid> function_owner;  // when the request was made
    TimestampTz at = 0;
};

// ---- reading (with the owner's rights) -------------------------------------------------------

// Makes the planner use the index for the following statements, whatever the role's settings and
// the current statistics are. Call it within an OwnerScope, which restores the settings.
void read_by_index() {
    call([] {
        for (const char* way : {"enable_seqscan", "enable_bitmapscan", "enable_sort"}) {
            (void)set_config_option(way, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
                                    0, false);
        }
    });
}

Datum copy_to_transaction(Datum row) {
    return call([row] {
        const HeapTupleHeader from = DatumGetHeapTupleHeader(row);
        const std::size_t size = HeapTupleHeaderGetDatumLength(from);
        void* to = MemoryContextAlloc(TopTransactionContext, size);
        memcpy(to, from, size);
        return PointerGetDatum(to);
    });
}

std::optional<Due> fetch_due() {
    std::optional<Due> due;
    Statement::each_row([&due](const Row& row) {
        due.emplace();
        due->response = row.as_int64(1);
        due->function = row.as_text(2);
        due->attempts = row.as_int32(3);
        due->sealed = row.as_bool(4);
        if (due->sealed) due->sealed_body = row.as_bytes(5);
        due->row = copy_to_transaction(row.value(6));
        if (!row.is_null(7)) due->function_owner = row.as_oid(7);
        due->content_type = row.as_text(8);
        due->truncated = !row.is_null(9) && row.as_bool(9);
        due->at = DatumGetTimestampTz(row.value(10));
        due->row_type = HeapTupleHeaderGetTypeId(DatumGetHeapTupleHeader(due->row));
    });
    return due;
}

std::optional<Due> find_after(RoleOid role, const Place& place) {
    static Statement query(R"(
SELECT id, on_response, callback_attempts, sealed, content_bytes, r, on_response_owner,
       content_type, truncated, callback_at
  FROM net._http_response AS r
 WHERE created_by = $1 AND callback_state = 'waiting' AND callback_at <= $2
   AND (callback_at, id) > ($3, $4)
 ORDER BY callback_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)");
    Spi spi;
    query.execute_on_latest({Parameter::of_oid(role), Parameter::of(now()),
                             Parameter{TIMESTAMPTZOID, TimestampTzGetDatum(place.at), false},
                             Parameter::of(place.id)});
    return fetch_due();
}

// Goes on behind `place`, and looks from the beginning only if there is nothing: there are those
// that were locked or came late, but most of what the index has there are entries of callbacks that
// are done, until they are vacuumed.
std::optional<Due> find_due(RoleOid role, Place& place) {
    read_by_index();
    auto due = find_after(role, place);
    if (!due && place != Place{}) due = find_after(role, Place{});
    place = due ? Place{due->at, due->response} : Place{};
    return due;
}

std::optional<Due> find_again(std::int64_t response) {
    static Statement query(R"(
SELECT id, on_response, callback_attempts, sealed, content_bytes, r, on_response_owner,
       content_type, truncated, callback_at
  FROM net._http_response AS r
 WHERE id = $1 AND callback_state = 'waiting' FOR UPDATE SKIP LOCKED)");
    read_by_index();
    Spi spi;
    query.execute_on_latest({Parameter::of(response)});
    return fetch_due();
}

// C world. What the UPDATE in mark_done() does, without the executor. False: the table has
// something that only an UPDATE would heed.
bool mark_plainly(std::int64_t response, int attempts) {
    constexpr KnownParts kKnown = {.trigger = "response_replicated",  // of replicated rows only
                                   .check = "_http_response_state_check"};
    Relation table = open_table("net", "_http_response", RowExclusiveLock);
    const Change changes[] = {
        {column_number(table, "callback_state"), CStringGetTextDatum("done"), false},
        {column_number(table, "callback_attempts"), Int32GetDatum(attempts), false},
        {column_number(table, "callback_error"), Datum{0}, true},
        {column_number(table, "callback_at"), Datum{0}, true}};
    const int count = lengthof(changes);
    const bool is_plain = is_plainly_updated(table, kKnown, changes, count);
    const AttrNumber key = column_number(table, "id");
    CommandCounterIncrement();
    // The row is gone if the callback has deleted it.
    for (bool is_done = !is_plain; !is_done;) {
        PushActiveSnapshot(GetLatestSnapshot());
        HeapTuple row = find_row(table, key, response, GetActiveSnapshot());
        is_done = !HeapTupleIsValid(row) ||
                  update_row(table, row, GetActiveSnapshot(), changes, count, Locked::wait);
        PopActiveSnapshot();
    }
    table_close(table, NoLock);
    return is_plain;
}

void mark_done(const Due& due, int attempts) {
    static Statement statement(R"(
UPDATE net._http_response
   SET callback_state = 'done', callback_attempts = $2, callback_error = NULL, callback_at = NULL
 WHERE id = $1)");
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    if (call([&] { return mark_plainly(due.response, attempts); })) return;
    Spi spi;
    statement.execute_on_latest(
        {Parameter::of(due.response), Parameter::of(std::int32_t{attempts})});
}

// ---- the argument ----------------------------------------------------------------------------

// Columns of a row to be changed.
struct Columns {
    int count = 0;
    int numbers[3] = {};
    Datum values[3] = {};
    bool nulls[3] = {};
};

// C world.
TupleDesc description_of(Datum row) {
    const HeapTupleHeader header = DatumGetHeapTupleHeader(row);
    return lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(header),
                                       HeapTupleHeaderGetTypMod(header));
}

// C world.
void set_column(Columns& columns, TupleDesc description, const char* name, Datum value, bool null) {
    const int i = columns.count++;
    columns.numbers[i] = SPI_fnumber(description, name);
    columns.values[i] = value;
    columns.nulls[i] = null;
}

// C world.
Datum with_columns(Datum row, TupleDesc description, Columns& columns) {
    HeapTupleData tuple{};
    tuple.t_data = DatumGetHeapTupleHeader(row);
    tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
    ItemPointerSetInvalid(&tuple.t_self);
    tuple.t_tableOid = InvalidOid;
    HeapTuple changed = heap_modify_tuple_by_cols(&tuple, description, columns.count,
                                                  columns.numbers, columns.values, columns.nulls);
    return heap_copy_tuple_as_datum(changed, description);
}

// The argument of the callback: the row as it was before the attempt was counted, with its body
// decrypted.
Datum argument_of(const Due& due, int attempts) {
    std::optional<std::string> body;
    bool is_text = false;
    if (due.sealed) {
        body = unseal(due.sealed_body, {"response", std::to_string(due.response)});
        if (!body) {
            throw Error("22023", "the response cannot be decrypted", "",
                        "It was encrypted with another key than that in net.secret_key_file.");
        }
        auto text = to_database_text(*body, core::charset(due.content_type), due.truncated);
        is_text = text.has_value();
        if (text) body = std::move(text);
    }
    return call([&] {
        const MemoryContext before = MemoryContextSwitchTo(TopTransactionContext);
        const TupleDesc description = description_of(due.row);
        Columns columns;
        set_column(columns, description, "callback_attempts", Int32GetDatum(attempts), false);
        if (body) {
            // Text and bytea have the same form.
            const int length = static_cast<int>(body->size());
            const Datum bytes = PointerGetDatum(cstring_to_text_with_len(body->data(), length));
            set_column(columns, description, "content", bytes, !is_text);
            set_column(columns, description, "content_bytes", bytes, is_text);
        }
        const Datum row = with_columns(due.row, description, columns);
        MemoryContextSwitchTo(before);
        return row;
    });
}

// ---- the call --------------------------------------------------------------------------------

// The statement that calls the function. Repeats the checks that were made with the request.
std::string statement_for(const Due& due, RoleOid role) {
    const OwnerScope owner;  // for its search_path
    const Oid function = call([&due] {
        return DatumGetObjectId(
            DirectFunctionCall1(regprocedurein, CStringGetDatum(due.function.c_str())));
    });
    check_callback_owner(check_callback(function, role), due.function_owner, role);
    const char* name = call([function] {
        return quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
                                          get_func_name(function));
    });
    return "SELECT " + std::string(name) + "($1)";
}

// C world, as the role.
void execute(const char* statement, Oid type, Datum argument) {
    if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
    PushActiveSnapshot(GetTransactionSnapshot());
    const int status = SPI_execute_with_args(statement, 1, &type, &argument, nullptr, false, 0);
    if (status < 0) elog(ERROR, "SPI failed: %s", SPI_result_code_string(status));
    PopActiveSnapshot();
    SPI_finish();
}

// Shows the call in pg_stat_activity and in the server log while it exists.
class Announcement {
  public:
    Announcement(std::int64_t response, std::string statement) : statement_(std::move(statement)) {
        call([this, response] {
            char name[NAMEDATALEN];
            snprintf(name, sizeof name, "net: callback [%lld]", static_cast<long long>(response));
            SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
            debug_query_string = statement_.c_str();
            pgstat_report_activity(STATE_RUNNING, statement_.c_str());
        });
    }
    ~Announcement() { debug_query_string = nullptr; }
    Announcement(const Announcement&) = delete;
    Announcement& operator=(const Announcement&) = delete;
    const char* statement() const { return statement_.c_str(); }

  private:
    std::string statement_;
};

void call_function(const Due& due, RoleOid role, int attempts) {
    const Announcement announcement(due.response, statement_for(due, role));
    const Datum argument = argument_of(due, attempts);
    call([&] {
        arm_statement_timeout();
        execute(announcement.statement(), due.row_type, argument);
    });
    stop_timeouts();
}

// The error for the table and the log. For a sealed response it must not contain the message, which
// may quote the response.
std::string recorded_error(const Due& due, const Error& error) {
    if (!due.sealed) return error_text(error);
    return "ERROR: SQLSTATE " + error.sqlstate() +
           " (its text is left out: the response is sealed)";
}

void record_failed_call(const Due& due, const Error& error, int attempts, double random) {
    const std::string what = "callback of response " + std::to_string(due.response) + " failed";
    if (due.sealed) {
        log_failure(what, Error(error.sqlstate(), "SQLSTATE " + error.sqlstate()));
    } else {
        log_failure(what, error);
    }
    const bool again = attempts < kMaxAttempts && core::is_retryable(error.sqlstate());
    Transaction transaction;
    call([] { (void)GetTransactionSnapshot(); });
    {
        const OwnerScope owner(OwnerScope::Mode::force_writable);
        Spi spi;
        record_failed_attempt(due.response, attempts, again, recorded_error(due, error), random);
    }
    transaction.commit_asynchronously();
}

// ---- what call_next() does ------------------------------------------------------------------

// Records the attempt before the call and flushes it to disk, so that a call that crashes the
// server is counted. False: no attempts are left.
bool mark_attempt(const Due& due, double random) {
    const bool is_left = due.attempts < kMaxAttempts;
    {
        const OwnerScope owner(OwnerScope::Mode::force_writable);
        Spi spi;
        record_failed_attempt(due.response, is_left ? due.attempts + 1 : due.attempts, is_left,
                              kInterrupted, random);
    }
    call([] { ForceSyncCommit(); });
    return is_left;
}

// What `search` finds, with the owner's rights.
template <class Search>
std::optional<Due> find(const Search& search) {
    // Before the OwnerScope, because the isolation level of the role's settings should apply to the
    // snapshot.
    call([] { (void)GetTransactionSnapshot(); });
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    return search();
}

Step look_later(RoleOid role) {
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    read_by_index();
    Step step;
    step.next = next_due(role);
    if (step.next && *step.next <= now()) step.next = now() + kPauseForLocks;
    return step;
}

}  // namespace

Step call_next(RoleOid role, bool careful, double random, Place& place) {
    std::optional<Due> due;
    int attempts = 0;  // that will have failed if this one fails
    try {
        call([] { QueryCancelPending = 0; });  // a cancellation was meant for an earlier call
        std::optional<Transaction> transaction(std::in_place);
        if (!try_keep_extension(Tables::net) || !requests::try_lock()) {
            return {.next = now() + kPauseForLocks};
        }
        due = find([&] { return find_due(role, place); });
        if (!due) {
            const Step step = look_later(role);
            transaction->commit_asynchronously();
            return step;
        }
        const int failed_before = due->attempts;
        attempts = failed_before + 1;
        const std::int64_t response = due->response;
        // A callback that has failed before may be the one that crashed the server.
        if (careful || failed_before > 0) {
            const bool is_left = mark_attempt(*due, random);
            transaction->commit();
            if (!is_left) return {.called = true};
            due.reset();
            transaction.emplace();
            due = find([response] { return find_again(response); });
            if (!due) return {.called = true};
            WorkerSlot::report_calling(CallbackCall{response, true});
        } else {
            WorkerSlot::report_calling(CallbackCall{response, false});
        }
        call_function(*due, role, failed_before);
        mark_done(*due, failed_before);
        if (careful) call([] { ForceSyncCommit(); });
        transaction->commit_asynchronously();
    } catch (const Error& error) {
        abort_everything();
        if (due) {
            record_failed_call(*due, error, attempts, random);
        } else if (error.sqlstate() != "57014") {
            throw;
        }
    }
    WorkerSlot::report_calling(std::nullopt);
    return {.called = true};
}

}  // namespace securatlas::pg::callbacks
