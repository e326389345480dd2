// By what jobs are ordered in cron_stat.top_jobs(), close together: the counters of 100,000 jobs
// are places in memory that the processor has to wait for, one after the other; their ranks are 2.4
// MB in a row. C world.
#pragma once

#include <atomic>
#include <cstdint>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/prelude.hpp"
#include "securatlas/pg/shared/statistics.hpp"

extern "C" {
#include "storage/lwlock.h"
#include "utils/dsa.h"
}

namespace securatlas::pg {

struct JobRank {
    DatabaseOid database;  // 0: it is free
    std::atomic<std::uint32_t> failures;
    std::atomic<std::int64_t> runs;
    std::int64_t job;  // of a free one: the next free one
};

// In the segment. Its blocks are in the area and stay there; what was given back is used again.
struct RankTable {
    static constexpr std::uint64_t kFirstBlock = 1024;
    static constexpr int kBlocks = 24;

    LWLock* lock;  // of all that follows, and of which ranks are free
    std::uint64_t taken;
    dsa_pointer free;
    dsa_pointer blocks[kBlocks];  // each is twice as long as the one before

    static std::uint64_t length_of(int block) { return kFirstBlock << block; }
};

// All of these may be called with the lock of an entry of the statistics.

// InvalidDsaPointer: there is no memory. The others accept that.
dsa_pointer take_rank(RankTable& table, dsa_area* area, DatabaseOid database, std::int64_t job);
void release_rank(RankTable& table, dsa_area* area, dsa_pointer place);
// By one process at a time for each rank.
void set_rank(dsa_area* area, dsa_pointer place, std::int64_t failures, std::int64_t runs);

template <class Visit>
void each_rank(RankTable& table, dsa_area* area, DatabaseOid database, Visit visit) {
    LWLockAcquire(table.lock, LW_SHARED);
    std::uint64_t left = table.taken;
    for (int block = 0; left > 0; ++block) {
        const auto* ranks = static_cast<const JobRank*>(dsa_get_address(area, table.blocks[block]));
        const std::uint64_t length = Min(left, RankTable::length_of(block));
        for (std::uint64_t i = 0; i < length; ++i) {
            if (ranks[i].database == database) visit(ranks[i]);
        }
        left -= length;
    }
    LWLockRelease(table.lock);
}

}  // namespace securatlas::pg
