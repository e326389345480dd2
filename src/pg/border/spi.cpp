#include "border/spi.hpp"

#include <array>
#include <optional>

extern "C" {
#include "nodes/parsenodes.h"
#include "optimizer/cost.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

constexpr std::size_t kMaxParameters = 24;

Datum text_datum(std::string_view value) {
    return PointerGetDatum(cstring_to_text_with_len(value.data(), static_cast<int>(value.size())));
}

struct Bytes {
    const char* data;
    std::size_t length;
};

// Of a value that is neither compressed nor stored elsewhere.
Bytes plain_bytes(const varlena* value) { return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)}; }

Bytes text_bytes(Datum value) { return plain_bytes(DatumGetTextPP(value)); }

// `length`, `by_value` and `alignment` are the properties of the element type that
// construct_array() needs.
Parameter make_array(Oid array_type, Oid element, Datum* values, bool* nulls, int count, int length,
                     bool by_value, char alignment) {
    int dimensions[1] = {count};
    int bounds[1] = {1};
    ArrayType* array = construct_md_array(values, nulls, 1, dimensions, bounds, element, length,
                                          by_value, alignment);
    return {array_type, PointerGetDatum(array), false};
}

// Parameters in the form that SPI expects.
struct Values {
    explicit Values(std::initializer_list<Parameter> parameters) {
        std::size_t count = 0;
        for (const Parameter& parameter : parameters) {
            values[count] = parameter.value;
            nulls[count] = parameter.is_null ? 'n' : ' ';
            ++count;
        }
    }
    std::array<Datum, kMaxParameters> values{};
    std::array<char, kMaxParameters> nulls{};
};

template <class T, class Convert>
Parameter fixed_array(const std::vector<T>& values, Oid array_type, Oid element, int length,
                      char alignment, Convert convert) {
    return call([&] {
        const auto count = static_cast<int>(values.size());
        auto* datums = static_cast<Datum*>(palloc(sizeof(Datum) * (values.size() + 1)));
        for (int i = 0; i < count; ++i) datums[i] = convert(values[static_cast<std::size_t>(i)]);
        return make_array(array_type, element, datums, nullptr, count, length, true, alignment);
    });
}

// While it lives, plans look up rows by index one by one.
class LookupsByIndex {
  public:
    LookupsByIndex() { enable_seqscan = enable_hashjoin = enable_mergejoin = false; }
    ~LookupsByIndex() {
        enable_seqscan = seqscan_;
        enable_hashjoin = hashjoin_;
        enable_mergejoin = mergejoin_;
    }
    LookupsByIndex(const LookupsByIndex&) = delete;
    LookupsByIndex& operator=(const LookupsByIndex&) = delete;

  private:
    bool seqscan_ = enable_seqscan;
    bool hashjoin_ = enable_hashjoin;
    bool mergejoin_ = enable_mergejoin;
};

}  // namespace

Spi::Spi() {
    pushed_ = call([] {
        if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
        // A background process has no portal whose snapshot could be used, and toasted values of a
        // result are read after its statement has ended.
        const bool push = !ActiveSnapshotSet();
        if (push) PushActiveSnapshot(GetTransactionSnapshot());
        return push;
    });
}

Spi::~Spi() {
    // After an error the transaction's abort cleans up.
    if (std::uncaught_exceptions() != 0) return;
    if (pushed_) PopActiveSnapshot();
    SPI_finish();
}

Parameter Parameter::of(std::string_view value) {
    return call([value] { return Parameter{TEXTOID, text_datum(value), false}; });
}

Parameter Parameter::of(const std::vector<std::int64_t>& values) {
    return fixed_array(values, INT8ARRAYOID, INT8OID, 8, TYPALIGN_DOUBLE,
                       [](std::int64_t value) { return Int64GetDatum(value); });
}

Parameter Parameter::of(const std::vector<std::int32_t>& values) {
    return fixed_array(values, INT4ARRAYOID, INT4OID, 4, TYPALIGN_INT,
                       [](std::int32_t value) { return Int32GetDatum(value); });
}

Parameter Parameter::of_oids(const std::vector<Oid>& values) {
    return fixed_array(values, OIDARRAYOID, OIDOID, 4, TYPALIGN_INT,
                       [](Oid value) { return ObjectIdGetDatum(value); });
}

Parameter Parameter::of(const std::vector<core::Instant>& values) {
    return fixed_array(
        values, TIMESTAMPTZARRAYOID, TIMESTAMPTZOID, 8, TYPALIGN_DOUBLE,
        [](core::Instant value) { return TimestampTzGetDatum(to_timestamp(value)); });
}

Parameter Parameter::of(const std::vector<std::string>& values) {
    return call([&values] {
        const auto count = values.size();
        auto* datums = static_cast<Datum*>(palloc(sizeof(Datum) * (count + 1)));
        auto* nulls = static_cast<bool*>(palloc(sizeof(bool) * (count + 1)));
        for (std::size_t i = 0; i < count; ++i) {
            nulls[i] = values[i].empty();
            datums[i] = nulls[i] ? Datum{0} : text_datum(values[i]);
        }
        return make_array(TEXTARRAYOID, TEXTOID, datums, nulls, static_cast<int>(count), -1, false,
                          TYPALIGN_INT);
    });
}

std::int64_t Row::as_int64(int column) const { return DatumGetInt64(value(column)); }
std::int32_t Row::as_int32(int column) const { return DatumGetInt32(value(column)); }
bool Row::as_bool(int column) const { return DatumGetBool(value(column)); }
Oid Row::as_oid(int column) const { return DatumGetObjectId(value(column)); }

core::Instant Row::as_instant(int column) const {
    return to_instant(DatumGetTimestampTz(value(column)));
}

std::string Row::as_text(int column) const {
    // Text needs detoasting only, not an output function.
    const Oid type = TupleDescAttr(description_, column - 1)->atttypid;
    if (is_null(column)) return {};
    if (type == TEXTOID) return as_bytes(column);
    const Bytes bytes = call([this, column]() -> Bytes {
        char* copy = SPI_getvalue(tuple_, description_, column);
        return {copy, strlen(copy)};
    });
    return std::string(bytes.data, bytes.length);
}

std::string Row::as_bytes(int column) const {
    if (is_null(column)) return {};
    const auto* stored = reinterpret_cast<varlena*>(DatumGetPointer(value(column)));
    const bool is_plain = !VARATT_IS_EXTERNAL(stored) && !VARATT_IS_COMPRESSED(stored);
    const Bytes bytes =
        is_plain ? plain_bytes(stored) : call([this, column] { return text_bytes(value(column)); });
    return std::string(bytes.data, bytes.length);
}

std::vector<std::string> Row::as_texts(int column) const {
    struct Elements {
        Datum* values;
        bool* nulls;
        int count;
    };
    const Elements elements = call([this, column] {
        Elements found{};
        deconstruct_array(DatumGetArrayTypeP(value(column)), TEXTOID, -1, false, TYPALIGN_INT,
                          &found.values, &found.nulls, &found.count);
        return found;
    });
    std::vector<std::string> texts;
    for (int i = 0; i < elements.count; ++i) {
        if (elements.nulls[i]) continue;
        const Bytes bytes = call([&] { return text_bytes(elements.values[i]); });
        texts.emplace_back(bytes.data, bytes.length);
    }
    return texts;
}

std::optional<core::Duration> Row::as_interval(int column) const {
    if (is_null(column)) return std::nullopt;
    return to_duration(*DatumGetIntervalP(value(column)));
}

void Statement::prepare(std::initializer_list<Parameter> parameters) {
    std::array<Oid, kMaxParameters> types{};
    std::size_t count = 0;
    for (const Parameter& parameter : parameters) types[count++] = parameter.type;
    plan_ = call([&] {
        SPIPlanPtr plan = SPI_prepare_cursor(sql_, static_cast<int>(count), types.data(),
                                             how_ == Plan::by_keys ? CURSOR_OPT_GENERIC_PLAN : 0);
        if (plan == nullptr) elog(ERROR, "SPI_prepare failed for: %s", sql_);
        SPI_keepplan(plan);
        return plan;
    });
}

Portal Statement::open_cursor(std::initializer_list<Parameter> parameters) {
    if (plan_ == nullptr) prepare(parameters);
    Values values(parameters);
    return call([&] {
        return SPI_cursor_open(nullptr, plan_, values.values.data(), values.nulls.data(), true);
    });
}

std::uint64_t Statement::fetch(Portal portal, long size) {
    return call([portal, size] {
        SPI_freetuptable(SPI_tuptable);
        SPI_cursor_fetch(portal, true, size);
        return SPI_processed;
    });
}

void Statement::close_cursor(Portal portal) {
    call([portal] { SPI_cursor_close(portal); });
}

std::uint64_t Statement::run(std::initializer_list<Parameter> parameters, bool latest) {
    if (plan_ == nullptr) prepare(parameters);
    Values values(parameters);
    // It may have to be planned again, because something about its tables has changed.
    std::optional<LookupsByIndex> lookups;
    if (how_ == Plan::by_keys) lookups.emplace();
    return call([&] {
        const Snapshot snapshot = latest ? RegisterSnapshot(GetLatestSnapshot()) : nullptr;
        const int status = SPI_execute_snapshot(plan_, values.values.data(), values.nulls.data(),
                                                snapshot, InvalidSnapshot, false, true, 0);
        if (snapshot != nullptr) UnregisterSnapshot(snapshot);
        if (status < 0) elog(ERROR, "SPI failed: %s", SPI_result_code_string(status));
        return SPI_processed;
    });
}

std::uint64_t Statement::execute(std::initializer_list<Parameter> parameters) {
    return run(parameters, false);
}

std::uint64_t Statement::execute_on_latest(std::initializer_list<Parameter> parameters) {
    return run(parameters, true);
}

}  // namespace securatlas::pg
