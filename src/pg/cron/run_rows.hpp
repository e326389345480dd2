// What the statements about runs return, as values.
#pragma once

#include <cstdint>
#include <vector>

#include "border/spi.hpp"

namespace securatlas::pg::runs {

// The last statement's rows, whose first column is a run's number.
inline std::vector<std::int64_t> run_ids() {
    std::vector<std::int64_t> ids;
    Statement::each_row([&ids](const Row& row) { ids.push_back(row.as_int64(1)); });
    return ids;
}

}  // namespace securatlas::pg::runs
