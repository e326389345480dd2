#include "border/relation_changes.hpp"

#include <algorithm>
#include <array>

extern "C" {
#include "utils/inval.h"
}

namespace securatlas::pg {

namespace {

constexpr std::size_t kListeners = 16;  // more than there are in the library

struct Listeners {
    std::array<void (*)(Oid), kListeners> all;
    std::size_t count;
    bool is_registered;
};
constinit Listeners listeners{};

extern "C" void securatlas_relation_changed(Datum, Oid relation) {
    for (std::size_t i = 0; i < listeners.count; ++i) listeners.all[i](relation);
}

}  // namespace

void on_relation_change(void (*changed)(Oid)) {
    if (!listeners.is_registered) {
        CacheRegisterRelcacheCallback(securatlas_relation_changed, Datum{0});
        listeners.is_registered = true;
    }
    auto* const end = listeners.all.begin() + listeners.count;
    if (std::find(listeners.all.begin(), end, changed) != end) return;
    if (listeners.count == kListeners) elog(ERROR, "there are too many listeners to changes");
    listeners.all[listeners.count++] = changed;
}

}  // namespace securatlas::pg
