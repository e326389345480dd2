#include "securatlas/pg/cron/written_job.hpp"

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"

extern "C" {
#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"
}

namespace securatlas::pg::jobs {
namespace {

struct Column {
    Datum value;
    bool is_null;
};

// C world.
Column column_of(const TriggerData* trigger, HeapTuple tuple, const char* name) {
    const TupleDesc description = trigger->tg_relation->rd_att;
    Column column{};
    column.value =
        SPI_getbinval(tuple, description, SPI_fnumber(description, name), &column.is_null);
    return column;
}

std::string text_of(const TriggerData* trigger, HeapTuple tuple, const char* name) {
    return call([=]() -> const char* {
        const Column column = column_of(trigger, tuple, name);
        return column.is_null ? "" : TextDatumGetCString(column.value);
    });
}

bool bool_of(const TriggerData* trigger, HeapTuple tuple, const char* name) {
    return call([=] {
        const Column column = column_of(trigger, tuple, name);
        return !column.is_null && DatumGetBool(column.value);
    });
}

RoleOid role_of(const TriggerData* trigger, HeapTuple tuple) {
    return call([=] {
        const Column column = column_of(trigger, tuple, "roleid");
        return column.is_null ? RoleOid{0} : DatumGetObjectId(column.value);
    });
}

// C world.
HeapTuple with_column(const TriggerData* trigger, HeapTuple tuple, const char* name, Datum value,
                      bool is_null) {
    const TupleDesc description = trigger->tg_relation->rd_att;
    int column = SPI_fnumber(description, name);
    return heap_modify_tuple_by_cols(tuple, description, 1, &column, &value, &is_null);
}

}  // namespace

WrittenJob::WrittenJob(const TriggerData* trigger)
    : trigger_(trigger),
      before_(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_trigtuple : nullptr),
      after_(before_ != nullptr ? trigger->tg_newtuple : trigger->tg_trigtuple) {}

std::int64_t WrittenJob::id() const {
    return call([this] { return DatumGetInt64(column_of(trigger_, after_, "jobid").value); });
}

std::string WrittenJob::text(const char* column) const { return text_of(trigger_, after_, column); }
bool WrittenJob::flag(const char* column) const { return bool_of(trigger_, after_, column); }
RoleOid WrittenJob::role() const { return role_of(trigger_, after_); }

core::Instant WrittenJob::planned_from() const {
    return call([this] {
        const Column column = column_of(trigger_, after_, "planned_from");
        return column.is_null ? now() : to_instant(DatumGetTimestampTz(column.value));
    });
}

bool WrittenJob::text_differs(const char* column) const {
    return is_new() || text_of(trigger_, before_, column) != text(column);
}

bool WrittenJob::role_differs() const { return !is_new() && role_of(trigger_, before_) != role(); }

bool WrittenJob::resumed() const {
    return !is_new() && !bool_of(trigger_, before_, "active") && flag("active");
}

bool WrittenJob::taken_over() const {
    return !is_new() && bool_of(trigger_, before_, "replicated") && !flag("replicated");
}

void WrittenJob::set(const char* column, const std::string& value) {
    after_ = call([&] {
        return with_column(trigger_, after_, column, CStringGetTextDatum(value.c_str()), false);
    });
}

void WrittenJob::set_flag(const char* column, bool value) {
    after_ =
        call([&] { return with_column(trigger_, after_, column, BoolGetDatum(value), false); });
}

void WrittenJob::set_role(RoleOid role) {
    after_ = call(
        [&] { return with_column(trigger_, after_, "roleid", ObjectIdGetDatum(role), role == 0); });
}

void WrittenJob::set_planned_from(core::Instant from) {
    after_ = call([&] {
        return with_column(trigger_, after_, "planned_from",
                           TimestampTzGetDatum(to_timestamp(from)), false);
    });
}

}  // namespace securatlas::pg::jobs
