// The door of every SQL function.
#pragma once

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/installed_extension.hpp"

namespace securatlas::extension {

// How PostgreSQL calls a SQL function of ours: pg::entry, behind a gate. In a server that has not
// preloaded the library no setting is defined and no shared memory there, and tables of another
// version are not what this code knows.
template <std::invocable F>
auto entry_point(F&& body) -> std::invoke_result_t<F&> {
    return pg::entry([&body] {
        pg::require_usable_extension();
        return body();
    });
}

}  // namespace securatlas::extension
