// The hash tables of the statistics. C world, but for the layout.
#pragma once

#include <atomic>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/prelude.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/statistics.hpp"
#include "shared/statistics_ranks.hpp"

extern "C" {
#include "lib/dshash.h"
#include "storage/lwlock.h"
#include "utils/dsa.h"
}

namespace securatlas::pg {

// Of a job its id, of a host a hash of its name, of a database 0.
struct StatisticsKey {
    DatabaseOid database;
    std::uint32_t zero;
    std::int64_t id;
};

template <class ValueType>
struct Counters {
    using Value = ValueType;
    std::atomic<std::int64_t> values[static_cast<std::size_t>(Value::count)];

    std::atomic<std::int64_t>& operator[](Value value) {
        return values[static_cast<std::size_t>(value)];
    }
    void add(Value value, std::int64_t amount) {
        (*this)[value].fetch_add(amount, std::memory_order_relaxed);
    }
    void add_at(Value first, std::size_t index, std::int64_t amount) {
        values[static_cast<std::size_t>(first) + index].fetch_add(amount,
                                                                  std::memory_order_relaxed);
    }
    void set(Value value, std::int64_t to) { (*this)[value].store(to, std::memory_order_relaxed); }
    // Two processes that raise it at once may lose the smaller one, or a reset between.
    void raise(Value value, std::int64_t to) {
        if ((*this)[value].load(std::memory_order_relaxed) < to) set(value, to);
    }
    void read(Figures<Value>& into) const {
        for (std::size_t i = 0; i < into.values.size(); ++i) {
            into.values[i] = values[i].load(std::memory_order_relaxed);
        }
    }
};

struct JobStatistics {
    StatisticsKey key;
    Counters<JobValue> counters;
    dsa_pointer rank;
};
struct HostStatistics {
    StatisticsKey key;
    Counters<HostValue> counters;
    char name[288];  // a name of at most 253 characters, with scheme and port
};
struct DatabaseStatistics {
    StatisticsKey key;
    Counters<DatabaseValue> counters;
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

// How this process is attached to the tables.
struct StatisticsTables {
    dsa_area* area;
    dshash_table* jobs;
    dshash_table* hosts;
    dshash_table* databases;
    RankTable* ranks;
};

// Null if the library is not preloaded. The first call of a process attaches it.
StatisticsTables* statistics_tables();

// Hands the tables to `body`, in the C world, if there are any. An error, which can only be want of
// memory or of a file, is logged and leaves locks held: nobody calls this with a lock of its own.
template <class Body>
void with_statistics(Body body) noexcept {
    try {
        call([&body] {
            StatisticsTables* tables = statistics_tables();
            if (tables != nullptr) body(*tables);
        });
    } catch (const std::exception& error) {
        LWLockReleaseAll();
        write_log(LogLevel::warning, std::string("securatlas_sched: statistics: ") + error.what());
    }
}

// Microseconds since 1970.
std::int64_t statistics_now();

// Sets all counters to 0 but when that was, which is now.
template <class Entry>
void clear(Entry& entry) {
    using Value = typename decltype(entry.counters)::Value;
    for (auto& value : entry.counters.values) value.store(0, std::memory_order_relaxed);
    entry.counters.set(Value::stats_reset, statistics_now());
}

// What comes with an entry that is new, and with one that changes or goes.
template <class Entry>
void begin_entry(StatisticsTables&, Entry& entry) {
    clear(entry);
}
inline void begin_entry(StatisticsTables& tables, JobStatistics& entry) {
    clear(entry);
    entry.rank = InvalidDsaPointer;
    entry.rank = take_rank(*tables.ranks, tables.area, entry.key.database, entry.key.id);
}
inline void rank_entry(StatisticsTables& tables, JobStatistics& entry) {
    using enum JobValue;
    std::int64_t runs = 0;
    for (const auto value : {succeeded, failed, cancelled, skipped, missed}) {
        runs += entry.counters[value].load(std::memory_order_relaxed);
    }
    set_rank(tables.area, entry.rank,
             entry.counters[consecutive_failures].load(std::memory_order_relaxed), runs);
}
inline void end_entry(StatisticsTables& tables, JobStatistics& entry) {
    release_rank(*tables.ranks, tables.area, entry.rank);
}

// Writes what is counted for the database into its file, or reads it from there; the file is
// removed in any case when it was read. Errors are logged.
void write_statistics_file(DatabaseOid database) noexcept;
void read_statistics_file(DatabaseOid database) noexcept;
void remove_statistics_file(DatabaseOid database) noexcept;

// In the postmaster, before any other process of ours: whether files may be read is known by how
// the server ended. Removes them if it crashed.
void check_statistics_files(bool is_restart);

}  // namespace securatlas::pg
