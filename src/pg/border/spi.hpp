// SQL through SPI, for the catalogs. Statements are constants of this library; values are passed as
// parameters.
#pragma once

#include <initializer_list>
#include <memory>
#include <vector>

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {

// An SPI connection within the current transaction, with an active snapshot.
class Spi {
  public:
    Spi();
    ~Spi();
    Spi(const Spi&) = delete;
    Spi& operator=(const Spi&) = delete;

  private:
    bool pushed_ = false;  // a snapshot was pushed and must be popped
};

// A parameter's value and type.
struct Parameter {
    Oid type;
    Datum value = 0;
    bool is_null = true;

    static Parameter of(std::int64_t value) { return {INT8OID, Int64GetDatum(value), false}; }
    static Parameter of(std::int32_t value) { return {INT4OID, Int32GetDatum(value), false}; }
    static Parameter of(bool value) { return {BOOLOID, BoolGetDatum(value), false}; }
    static Parameter of(core::Instant value) {
        return {TIMESTAMPTZOID, TimestampTzGetDatum(to_timestamp(value)), false};
    }
    static Parameter of(std::string_view value);
    static Parameter of(const std::string& value) { return of(std::string_view(value)); }
    static Parameter null(Oid type) { return {type}; }
    static Parameter of_bytes(std::string_view value) {
        Parameter bytes = of(value);  // text and bytea have the same form
        bytes.type = BYTEAOID;
        return bytes;
    }
    static Parameter of_oid(Oid value) { return {OIDOID, ObjectIdGetDatum(value), false}; }

    // Arrays. Empty texts become NULL elements.
    static Parameter of(const std::vector<std::int64_t>& values);
    static Parameter of(const std::vector<std::int32_t>& values);
    static Parameter of_oids(const std::vector<Oid>& values);
    static Parameter of(const std::vector<core::Instant>& values);
    static Parameter of(const std::vector<std::string>& values);

    // A text, or NULL for nullopt.
    static Parameter of_optional(const std::optional<std::string>& value) {
        return value ? of(std::string_view(*value)) : null(TEXTOID);
    }
};

// One row of a result. Columns count from 1.
class Row {
  public:
    // With the values of its columns, which live as long as the row.
    Row(HeapTuple tuple, TupleDesc description, const Datum* values, const bool* nulls)
        : tuple_(tuple), description_(description), values_(values), nulls_(nulls) {}

    bool is_null(int column) const { return nulls_[column - 1]; }
    std::int64_t as_int64(int column) const;
    std::int32_t as_int32(int column) const;
    bool as_bool(int column) const;
    Oid as_oid(int column) const;
    core::Instant as_instant(int column) const;
    std::string as_text(int column) const;   // empty for NULL; through the type's output function
    std::string as_bytes(int column) const;  // of a bytea; empty for NULL
    std::vector<std::string> as_texts(int column) const;  // of a text[] without NULLs
    std::optional<core::Duration> as_interval(int column) const;

    // Not copied; valid as long as the result. 0 for NULL.
    Datum value(int column) const { return values_[column - 1]; }

  private:
    HeapTuple tuple_;
    TupleDesc description_;
    const Datum* values_;
    const bool* nulls_;
};

// How a statement is planned.
enum class Plan {
    by_values,  // as PostgreSQL decides, which may be at each execution
    // Once, with lookups by index: for statements about rows whose keys are their parameters. They
    // stay right however few rows there were when they were planned. To plan one takes more time
    // than to execute it for a few keys.
    by_keys,
};

// A statement whose plan is kept for the life of the process. Declare it as a function-local
// static; it has no destructor.
class Statement {
  public:
    // `sql` must be valid for the life of the process.
    explicit constexpr Statement(const char* sql, Plan how = Plan::by_values)
        : sql_(sql), how_(how) {}

    // Executes the statement inside an Spi; returns the number of rows processed. The types of the
    // parameters must be the same at each call.
    std::uint64_t execute(std::initializer_list<Parameter> parameters);

    // Executes it with a new snapshot, whatever the isolation level of the transaction: the row to
    // be updated may have been changed by another process after the transaction's snapshot.
    std::uint64_t execute_on_latest(std::initializer_list<Parameter> parameters);

    // Executes a query and calls `consume()` for each page of up to `size` rows; within it
    // each_row() visits the rows of the page. `consume` may execute other statements.
    template <class F>
    void execute_in_pages(std::initializer_list<Parameter> parameters, long size, F&& consume) {
        const Portal portal = open_cursor(parameters);
        while (fetch(portal, size) > 0) consume();
        close_cursor(portal);
    }

    // The first column, of type bigint, of the result of the last execution. 0 stands for NULL.
    static std::vector<std::int64_t> ids() {
        std::vector<std::int64_t> found;
        each_row([&found](const Row& row) { found.push_back(row.as_int64(1)); });
        return found;
    }

    // Calls `consume(Row)` for each row of the result of the last execution.
    template <class F>
    static void each_row(F&& consume) {
        SPITupleTable* table = SPI_tuptable;
        if (table == nullptr) return;
        const auto columns = static_cast<std::size_t>(table->tupdesc->natts);
        std::vector<Datum> values(columns);
        const auto nulls = std::make_unique<bool[]>(columns);
        for (std::uint64_t i = 0; i < table->numvals; ++i) {
            // All at once: to look for one column passes over those before it.
            heap_deform_tuple(table->vals[i], table->tupdesc, values.data(), nulls.get());
            consume(Row(table->vals[i], table->tupdesc, values.data(), nulls.get()));
        }
    }

  private:
    Portal open_cursor(std::initializer_list<Parameter> parameters);
    static std::uint64_t fetch(Portal portal, long size);
    static void close_cursor(Portal portal);
    void prepare(std::initializer_list<Parameter> parameters);
    std::uint64_t run(std::initializer_list<Parameter> parameters, bool latest);

    const char* sql_;
    Plan how_;
    SPIPlanPtr plan_ = nullptr;
};

}  // namespace securatlas::pg
