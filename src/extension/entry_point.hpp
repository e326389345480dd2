// The entry point of every SQL function.
#pragma once

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/installed_extension.hpp"

namespace securatlas::extension {

// pg::entry, after a check that the server has preloaded the library and that the extension has its
// version. Otherwise there would be no settings and no shared memory, or the tables would not be
// those that this code expects.
template <std::invocable F>
auto entry_point(F&& body) -> std::invoke_result_t<F&> {
    return pg::entry([&body] {
        pg::require_usable_extension();
        return body();
    });
}

}  // namespace securatlas::extension
