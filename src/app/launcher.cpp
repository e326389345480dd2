// The launcher: one process for the cluster, connected to the shared catalogs only. It cannot see
// which databases have the extension. So after the start of the server it launches a scheduler in
// every database; schedulers that find no extension end at once, and their entry is freed. Later
// schedulers are requested by CREATE EXTENSION and CREATE DATABASE. A scheduler that ends is
// launched again after a pause that grows with each failure, unless its database is blocked for
// DROP, RENAME or a copy. As pg_net's it also keeps the http worker of one database running.
#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "securatlas/app/processes.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/transaction.hpp"
#include "securatlas/pg/net/settings.hpp"
#include "securatlas/pg/shared/launch.hpp"

namespace securatlas::app {
namespace {

// At most this many schedulers start at the same time.
constexpr std::size_t kMaxStarting = 4;
constexpr core::Duration kRetryPause = std::chrono::seconds(1);
constexpr core::Duration kPauseAfterError = std::chrono::milliseconds(500);

class Launcher {
  public:
    void run() {
        pg::DatabaseTable::attach_launcher();
        while (true) {
            try {
                if (!std::exchange(has_looked_, true)) unvisited_ = existing_databases();
                pg::wait(pg::Wait::launcher, turn());
            } catch (const std::exception& error) {
                pg::write_log(pg::LogLevel::warning,
                              std::string("securatlas_sched launcher: ") + error.what());
                pg::pause(kPauseAfterError);
            }
        }
    }

  private:
    // Does what there is to do, and returns how long to sleep.
    core::Duration turn() {
        follow_starting();
        const core::Duration sleep = keep_http_worker();
        // There may be more databases than entries: databases without the extension free their
        // entries for others.
        if (!unvisited_.empty()) unvisited_ = pg::DatabaseTable::want_all(unvisited_);
        const std::vector<pg::DatabaseOid> wanted = pg::DatabaseTable::to_start();
        if (!wanted.empty()) start(wanted);
        const auto next = pg::DatabaseTable::next_start();
        const bool is_settled = starting_.empty() && !next;
        if (pg::DatabaseTable::take_overcrowded() || (is_settled && !unvisited_.empty())) {
            log_overcrowded();
        }
        if (!starting_.empty()) return (std::min)(sleep, kRetryPause);
        return next ? (std::min)(sleep, (std::max)(*next - pg::now(), core::Duration(0))) : sleep;
    }

    // Returns how long to sleep. An http worker that has ended is started again after a pause.
    core::Duration keep_http_worker() {
        const pg::DatabaseOid database = database_of_pg_net();
        pg::DatabaseTable::keep_http_worker(database);
        if (!pg::DatabaseTable::kept_http_worker_is_missing()) {
            http_launch_at_.reset();
            return core::Duration::max();
        }
        // It has not attached yet.
        if (http_launch_ && http_launch_->state() != pg::Launched::State::ended) return kRetryPause;
        const core::Duration monotonic = pg::monotonic_now();
        if (!http_launch_at_) http_launch_at_ = monotonic + kRetryPause;
        if (*http_launch_at_ > monotonic) return *http_launch_at_ - monotonic;
        http_launch_at_ = monotonic + kRetryPause;
        http_launch_ = pg::launch_http_worker(database);
        if (http_launch_) {
            has_room();
        } else {
            slots_are_out("an http worker");
        }
        return kRetryPause;
    }

    static pg::DatabaseOid database_of_pg_net() {
        const std::string name = pg::pg_net_database();
        if (name.empty()) return 0;
        pg::Transaction transaction;
        const std::vector<pg::DatabaseOid> found = pg::connectable_databases(name);
        transaction.commit();
        return found.empty() ? 0 : found.front();
    }

    void log_overcrowded() {
        if (std::exchange(is_overcrowded_, true)) return;
        pg::write_log(pg::LogLevel::warning,
                      "securatlas_sched: too many databases hold the extension; some of them have "
                      "no scheduler");
    }

    void start(const std::vector<pg::DatabaseOid>& wanted) {
        const std::vector<pg::DatabaseOid> existing = existing_databases();
        for (const pg::DatabaseOid database : wanted) {
            if (std::find(existing.begin(), existing.end(), database) == existing.end()) {
                pg::DatabaseTable::forget(database);
            } else if (starting_.size() < kMaxStarting) {
                launch(database);
            }
        }
    }

    void launch(pg::DatabaseOid database) {
        pg::DatabaseTable::set_starting(database);
        if (auto launched = pg::launch_scheduler(database)) {
            starting_.insert_or_assign(database, std::move(*launched));
            has_room();
            return;
        }
        pg::DatabaseTable::start_later(database, kRetryPause);
        slots_are_out("a scheduler");
    }

    void has_room() {
        if (std::exchange(slots_are_out_, false)) pg::WorkerTable::keep_room(core::Duration(0));
    }

    // Job workers must not take the place before the next try.
    void slots_are_out(const char* wanted) {
        pg::WorkerTable::keep_room(pg::monotonic_now() + 2 * kRetryPause);
        if (std::exchange(slots_are_out_, true)) return;
        pg::write_log(pg::LogLevel::warning,
                      std::string("securatlas_sched: no background worker slot is free for ") +
                          wanted + "; raise max_worker_processes");
    }

    // A scheduler that ended before it attached to its entry is started again later.
    void follow_starting() {
        for (auto entry = starting_.begin(); entry != starting_.end();) {
            const bool announced = pg::DatabaseTable::scheduler_is_running(entry->first);
            const bool ended = entry->second.state() == pg::Launched::State::ended;
            if (ended && !announced) pg::DatabaseTable::start_failed(entry->first);
            entry = announced || ended ? starting_.erase(entry) : std::next(entry);
        }
    }

    static std::vector<pg::DatabaseOid> existing_databases() {
        pg::Transaction transaction;
        std::vector<pg::DatabaseOid> databases = pg::connectable_databases();
        transaction.commit();
        return databases;
    }

    std::unordered_map<pg::DatabaseOid, pg::Launched> starting_;
    bool has_looked_ = false;
    std::vector<pg::DatabaseOid> unvisited_;  // without a scheduler since the start of the server
    bool is_overcrowded_ = false;             // it was logged that there are too many databases
    bool slots_are_out_ = false;
    std::optional<pg::Launched> http_launch_;
    // Of the http worker that is missing, or that was missing when this process started.
    std::optional<core::Duration> http_launch_at_{core::Duration(0)};
};

}  // namespace

void run_launcher() {
    pg::accept_signals();
    pg::connect_to_shared_catalogs();
    Launcher().run();
}

}  // namespace securatlas::app
