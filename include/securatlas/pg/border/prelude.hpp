// PostgreSQL's headers, for src/pg and src/extension only. Include it last: postgres.h redefines
// names that the standard headers use.
#pragma once

// clang-format off
#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

extern "C" {
#include "postgres.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
}
// clang-format on

#include "securatlas/pg/border/compat.hpp"

// The code passes 8-byte values in a Datum by value.
static_assert(sizeof(Datum) == 8);
