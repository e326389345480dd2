// A row of cron.job that is about to be written, in the BEFORE trigger that may change it.
#pragma once

#include <cstdint>
#include <string>

#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

struct TriggerData;
struct HeapTupleData;

namespace securatlas::pg::jobs {

class WrittenJob {
  public:
    struct Column {
        std::uintptr_t value;  // a Datum
        bool is_null;
    };

    explicit WrittenJob(const TriggerData* trigger);

    std::int64_t id() const;
    bool is_new() const { return before_ == nullptr; }
    std::string text(const char* column) const;  // empty for NULL
    bool flag(const char* column) const;
    RoleOid role() const;  // 0: there is none
    core::Instant planned_from() const;

    // Comparison with the old row; in a new row every text differs, and nothing else.
    bool text_differs(const char* column) const;
    bool role_differs() const;
    bool resumed() const;
    bool taken_over() const;  // it was replicated, and cron.take_over() makes it this server's now

    void set(const char* column, const std::string& value);
    void set_flag(const char* column, bool value);
    void set_role(RoleOid role);  // 0: none
    void set_planned_from(core::Instant from);

    // The row with the changes.
    HeapTupleData* row() const;

  private:
    Column column(const char* name) const;
    Column column_before(const char* name) const;
    void set_column(const char* name, std::uintptr_t value, bool is_null = false);

    const TriggerData* trigger_;
    HeapTupleData* before_;  // null: none
    HeapTupleData* given_;
    // The columns with the changes.
    std::uintptr_t* values_;
    bool* nulls_;
    bool changed_ = false;
};

}  // namespace securatlas::pg::jobs
