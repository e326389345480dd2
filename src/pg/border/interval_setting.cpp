#include "border/interval_setting.hpp"

#include "securatlas/pg/border/convert.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace pg = securatlas::pg;

bool securatlas_check_interval(char** value, void** extra, GucSource) {
    return pg::check_setting([value, extra] {
        const Interval* interval = pg::call([value] {
            return DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(*value),
                                                         ObjectIdGetDatum(InvalidOid),
                                                         Int32GetDatum(-1)));
        });
        const std::int64_t span = pg::to_duration(*interval).count();
        if (span < 0) throw pg::Error("22023", "The interval must not be negative.");
        *extra = pg::allocate_setting_extra(sizeof span);
        if (*extra == nullptr) throw std::bad_alloc();
        *static_cast<std::int64_t*>(*extra) = span;
    });
}
