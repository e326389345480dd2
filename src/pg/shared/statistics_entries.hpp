// Entries of the statistics: to find, make and visit them. C world.
#pragma once

#include <string_view>

#include "shared/statistics_tables.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace securatlas::pg {

// Calls `change` with the entry while nobody can remove it. With `make`, makes it first.
template <class Entry, class Change>
bool with_entry(StatisticsTables& tables, dshash_table* table, const StatisticsKey& key, bool make,
                Change change) {
    auto* entry = static_cast<Entry*>(dshash_find(table, &key, false));
    if (entry == nullptr && make) {
        bool found = false;
        entry = static_cast<Entry*>(dshash_find_or_insert(table, &key, &found));
        if (!found) begin_entry(tables, *entry);
    }
    if (entry == nullptr) return false;
    change(*entry);
    dshash_release_lock(table, entry);
    return true;
}

template <class Change>
bool with_job(StatisticsTables& tables, DatabaseOid database, std::int64_t job, bool make,
              Change change) {
    return with_entry<JobStatistics>(tables, tables.jobs, {database, 0, job}, make, change);
}

template <class Change>
bool with_database(StatisticsTables& tables, DatabaseOid database, Change change) {
    return with_entry<DatabaseStatistics>(tables, tables.databases, {database, 0, 0}, false,
                                          change);
}

// Two of a thousand hosts share a hash once in 10^13 databases.
inline StatisticsKey key_of(DatabaseOid database, std::string_view host) {
    const auto hash = hash_bytes_extended(reinterpret_cast<const unsigned char*>(host.data()),
                                          static_cast<int>(host.size()), 0);
    return {database, 0, static_cast<std::int64_t>(hash)};
}

template <class Entry, class Visit>
void each_entry(dshash_table* table, DatabaseOid database, bool exclusive, Visit visit) {
    dshash_seq_status scan;
    dshash_seq_init(&scan, table, exclusive);
    while (auto* entry = static_cast<Entry*>(dshash_seq_next(&scan))) {
        if (entry->key.database == database && visit(*entry)) dshash_delete_current(&scan);
    }
    dshash_seq_term(&scan);
}

}  // namespace securatlas::pg
