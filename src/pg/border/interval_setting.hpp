// The check hook of settings whose value is an interval.
#pragma once

#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "utils/guc.h"

// Accepts intervals that are not negative; `extra` becomes their length in microseconds, a
// std::int64_t.
bool securatlas_check_interval(char** value, void** extra, GucSource source);
}

namespace securatlas::pg {

// Runs the body of a check hook, which must not throw: an exception becomes the detail of the
// rejection.
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
