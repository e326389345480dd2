#include "securatlas/app/database_statements.hpp"

#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kLongestWait = std::chrono::milliseconds(4500);
constexpr core::Duration kLookAgain = std::chrono::milliseconds(5);

}  // namespace

void close_database(std::string_view name, bool is_dropped) {
    const auto database = pg::find_database_oid(name);
    if (!database || *database == pg::current_database() || !pg::owns_database(*database)) return;
    pg::at_commit::database_blocked(*database, is_dropped);
    const core::Duration began = pg::monotonic_now();
    core::Duration waited{0};
    while (pg::DatabaseTable::block(*database, waited) > 0 && waited < kLongestWait) {
        pg::nap(pg::Wait::database_end, kLookAgain);
        waited = pg::monotonic_now() - began;
    }
}

void database_opened(std::string_view name) {
    if (const auto database = pg::find_new_database_oid(name)) {
        pg::at_commit::want_scheduler(*database);
    }
}

}  // namespace securatlas::app
