// What sessions read of the statistics, and what they reset.
#include <algorithm>
#include <cstring>
#include <functional>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"
#include "securatlas/pg/shared/statistics.hpp"
#include "shared/statistics_entries.hpp"

extern "C" {
#include "storage/lwlock.h"
}

namespace securatlas::pg {
namespace {

// While nobody else counts for it.
template <class Change>
void with_job_alone(StatisticsTables& tables, DatabaseOid database, std::int64_t job,
                    Change change) {
    const StatisticsKey key{database, 0, job};
    auto* entry = static_cast<JobStatistics*>(dshash_find(tables.jobs, &key, true));
    if (entry == nullptr) return;
    change(*entry);
    dshash_release_lock(tables.jobs, entry);
}

void reset_job_entry(StatisticsTables& tables, JobStatistics& entry) {
    clear(entry);
    rank_entry(tables, entry);
}

template <class Body>
void require_tables(Body body) {
    (void)require_shared_state();
    try {
        call([&body] { body(*statistics_tables()); });
    } catch (const Error&) {
        LWLockReleaseAll();
        throw;
    }
}

}  // namespace

JobFigures Statistics::job(DatabaseOid database, std::int64_t job) {
    JobFigures figures;
    require_tables([&](StatisticsTables& tables) {
        (void)with_job(tables, database, job, false,
                       [&](JobStatistics& entry) { entry.counters.read(figures); });
    });
    return figures;
}

DatabaseFigures Statistics::database(DatabaseOid database) {
    DatabaseFigures figures;
    require_tables([&](StatisticsTables& tables) {
        (void)with_database(tables, database,
                            [&](DatabaseStatistics& entry) { entry.counters.read(figures); });
    });
    return figures;
}

std::vector<Statistics::Host> Statistics::hosts(DatabaseOid database) {
    std::vector<Host> hosts;
    struct Copy {
        char name[sizeof HostStatistics::name];
        HostFigures figures;
    };
    std::vector<Copy> copies;
    copies.reserve(static_cast<std::size_t>(kMaxCountedHosts) + 2);  // no allocation under the lock
    require_tables([&](StatisticsTables& tables) {
        each_entry<HostStatistics>(tables.hosts, database, false, [&](HostStatistics& entry) {
            if (copies.size() == copies.capacity()) return false;
            Copy& copy = copies.emplace_back();
            memcpy(copy.name, entry.name, sizeof copy.name);
            entry.counters.read(copy.figures);
            return false;
        });
    });
    hosts.reserve(copies.size());
    for (const Copy& copy : copies) hosts.push_back({copy.name, copy.figures});
    return hosts;
}

std::vector<std::int64_t> Statistics::top_jobs(DatabaseOid database, std::size_t most) {
    struct Rank {
        std::int64_t failures;
        std::int64_t runs;
        std::int64_t minus_job;  // what is found first stays: most often it has the smaller id
        auto operator<=>(const Rank&) const = default;
    };
    // The smallest on top, to be replaced.
    std::vector<Rank> ranks;
    ranks.reserve(most + 1);  // no allocation under the lock
    if (most == 0) return {};
    require_tables([&](StatisticsTables& tables) {
        each_rank(*tables.ranks, tables.area, database, [&](const JobRank& found) {
            const Rank rank{found.failures.load(std::memory_order_relaxed),
                            found.runs.load(std::memory_order_relaxed), -found.job};
            if (ranks.size() == most && rank < ranks.front()) return;
            ranks.push_back(rank);
            std::ranges::push_heap(ranks, std::greater{});
            if (ranks.size() <= most) return;
            std::ranges::pop_heap(ranks, std::greater{});
            ranks.pop_back();
        });
    });
    std::ranges::sort(ranks, std::greater{});
    std::vector<std::int64_t> jobs;
    jobs.reserve(ranks.size());
    for (const Rank& rank : ranks) jobs.push_back(-rank.minus_job);
    return jobs;
}

// ---- reset and removal ---------------------------------------------------------------------

void Statistics::reset(DatabaseOid database) {
    require_tables([&](StatisticsTables& tables) {
        each_entry<JobStatistics>(tables.jobs, database, true, [&tables](JobStatistics& entry) {
            reset_job_entry(tables, entry);
            return false;
        });
        each_entry<HostStatistics>(tables.hosts, database, true,
                                   [](HostStatistics&) { return true; });
        (void)with_database(tables, database, [](DatabaseStatistics& entry) { clear(entry); });
    });
}

void Statistics::reset_job(DatabaseOid database, std::int64_t job) {
    require_tables([&](StatisticsTables& tables) {
        with_job_alone(tables, database, job,
                       [&tables](JobStatistics& entry) { reset_job_entry(tables, entry); });
    });
}

void Statistics::reset_host(DatabaseOid database, std::string_view host) {
    require_tables([&](StatisticsTables& tables) {
        (void)with_entry<HostStatistics>(tables, tables.hosts, key_of(database, host), false,
                                         [](HostStatistics& entry) { clear(entry); });
    });
}

}  // namespace securatlas::pg
