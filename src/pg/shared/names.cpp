#include "securatlas/pg/shared/names.hpp"

#include <string_view>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/settings.hpp"
#include "securatlas/pg/net/settings.hpp"

namespace securatlas::pg {
namespace {

constinit bool is_pg_net = false;

}  // namespace

void serve_as(const char* name) {
    const std::string_view served = name;
    if (served == "pg_cron") use_defaults_of_pg_cron();
    if (served != "pg_net" || is_pg_net) return;
    is_pg_net = true;
    define_pg_net_settings();
}

bool serves_as_pg_net() { return is_pg_net; }

}  // namespace securatlas::pg
