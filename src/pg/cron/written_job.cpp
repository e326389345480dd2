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

using Column = WrittenJob::Column;

int number_of(const TriggerData* trigger, const char* name) {
    const TupleDesc columns = trigger->tg_relation->rd_att;
    const int number = call([=] { return SPI_fnumber(columns, name); });
    if (number > 0) return number;
    throw Error("42703", "column \"" + std::string(name) + "\" of relation \"job\" does not exist");
}

std::string text_of(const Column& column) {
    if (column.is_null) return {};
    struct Bytes {
        const char* data;
        std::size_t length;
    };
    const Bytes bytes = call([&column]() -> Bytes {
        text* packed = DatumGetTextPP(column.value);
        return {VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed)};
    });
    return std::string(bytes.data, bytes.length);
}

bool bool_of(const Column& column) { return !column.is_null && DatumGetBool(column.value); }

RoleOid role_of(const Column& column) {
    return column.is_null ? RoleOid{0} : DatumGetObjectId(column.value);
}

}  // namespace

WrittenJob::WrittenJob(const TriggerData* trigger)
    : trigger_(trigger),
      before_(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_trigtuple : nullptr),
      given_(before_ != nullptr ? trigger->tg_newtuple : trigger->tg_trigtuple) {
    call([this] {
        const TupleDesc columns = trigger_->tg_relation->rd_att;
        const auto count = static_cast<std::size_t>(columns->natts);
        values_ = static_cast<Datum*>(palloc(sizeof(Datum) * count));
        nulls_ = static_cast<bool*>(palloc(sizeof(bool) * count));
        heap_deform_tuple(given_, columns, values_, nulls_);
    });
}

std::int64_t WrittenJob::id() const { return DatumGetInt64(column("jobid").value); }
std::string WrittenJob::text(const char* name) const { return text_of(column(name)); }
bool WrittenJob::flag(const char* name) const { return bool_of(column(name)); }
RoleOid WrittenJob::role() const { return role_of(column("roleid")); }

core::Instant WrittenJob::planned_from() const {
    const Column from = column("planned_from");
    return from.is_null ? now() : to_instant(DatumGetTimestampTz(from.value));
}

bool WrittenJob::text_differs(const char* name) const {
    return is_new() || text_of(column_before(name)) != text(name);
}

bool WrittenJob::role_differs() const {
    return !is_new() && role_of(column_before("roleid")) != role();
}

bool WrittenJob::resumed() const {
    return !is_new() && !bool_of(column_before("active")) && flag("active");
}

bool WrittenJob::taken_over() const {
    return !is_new() && bool_of(column_before("replicated")) && !flag("replicated");
}

void WrittenJob::set(const char* name, const std::string& value) {
    set_column(name, call([&value] { return CStringGetTextDatum(value.c_str()); }));
}

void WrittenJob::set_flag(const char* name, bool value) { set_column(name, BoolGetDatum(value)); }

void WrittenJob::set_role(RoleOid role) { set_column("roleid", ObjectIdGetDatum(role), role == 0); }

void WrittenJob::set_planned_from(core::Instant from) {
    set_column("planned_from", TimestampTzGetDatum(to_timestamp(from)));
}

HeapTupleData* WrittenJob::row() const {
    if (!changed_) return given_;
    return call([this] {
        HeapTuple row = heap_form_tuple(trigger_->tg_relation->rd_att, values_, nulls_);
        row->t_data->t_ctid = given_->t_data->t_ctid;
        row->t_self = given_->t_self;
        row->t_tableOid = given_->t_tableOid;
        return row;
    });
}

WrittenJob::Column WrittenJob::column(const char* name) const {
    const int number = number_of(trigger_, name);
    return {values_[number - 1], nulls_[number - 1]};
}

WrittenJob::Column WrittenJob::column_before(const char* name) const {
    return call([this, name] {
        Column found{};
        found.value = SPI_getbinval(before_, trigger_->tg_relation->rd_att,
                                    number_of(trigger_, name), &found.is_null);
        return found;
    });
}

void WrittenJob::set_column(const char* name, Datum value, bool is_null) {
    const int number = number_of(trigger_, name);
    values_[number - 1] = value;
    nulls_[number - 1] = is_null;
    changed_ = true;
}

}  // namespace securatlas::pg::jobs
