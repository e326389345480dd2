#include "securatlas/app/database_statements.hpp"

#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kLongestWait = std::chrono::milliseconds(4500);
constexpr core::Duration kLookAgain = std::chrono::milliseconds(5);

}  // namespace

QuietDatabase::QuietDatabase(std::string_view name) {
    const auto database = pg::find_database_oid(name);
    if (!database || *database == pg::current_database() || !pg::owns_database(*database)) return;
    database_ = *database;
    try {
        const core::Duration until = pg::monotonic_now() + kLongestWait;
        while (!pg::DatabaseTable::block(database_).empty() && pg::monotonic_now() < until) {
            pg::nap(pg::Wait::database_end, kLookAgain);
        }
    } catch (...) {
        pg::DatabaseTable::unblock(database_);
        throw;
    }
}

QuietDatabase::~QuietDatabase() {
    if (database_ != 0) pg::DatabaseTable::unblock(database_);
}

void database_opened(std::string_view name) {
    if (const auto database = pg::find_new_database_oid(name)) {
        pg::at_commit::want_scheduler(*database);
    }
}

}  // namespace securatlas::app
