// The check hook of settings whose value is a span of time.
#pragma once

#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "utils/guc.h"

// Accepts an interval that is not negative; `extra` becomes its microseconds, as std::int64_t.
bool securatlas_check_interval(char** value, void** extra, GucSource source);
}

namespace securatlas::pg {

// A check hook must not throw: an exception is the reason that the value is refused for.
template <class F>
bool check_setting(F&& body) {
    try {
        body();
        return true;
    } catch (const std::exception& error) {
        GUC_check_errdetail("%s", error.what());
        return false;
    }
}

}  // namespace securatlas::pg
