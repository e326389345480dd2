#include "shared/statistics_ranks.hpp"

namespace securatlas::pg {
namespace {

JobRank* rank_at(dsa_area* area, dsa_pointer place) {
    return static_cast<JobRank*>(dsa_get_address(area, place));
}

// The next one that was never taken; with the lock.
dsa_pointer new_rank(RankTable& table, dsa_area* area) {
    std::uint64_t index = table.taken;
    int block = 0;
    while (block < RankTable::kBlocks && index >= RankTable::length_of(block)) {
        index -= RankTable::length_of(block++);
    }
    if (block == RankTable::kBlocks) return InvalidDsaPointer;
    if (!DsaPointerIsValid(table.blocks[block])) {
        table.blocks[block] = dsa_allocate_extended(
            area, RankTable::length_of(block) * sizeof(JobRank), DSA_ALLOC_HUGE | DSA_ALLOC_NO_OOM);
    }
    if (!DsaPointerIsValid(table.blocks[block])) return InvalidDsaPointer;
    ++table.taken;
    return table.blocks[block] + index * sizeof(JobRank);
}

dsa_pointer free_rank(RankTable& table, dsa_area* area) {
    const dsa_pointer place = table.free;
    table.free = static_cast<dsa_pointer>(rank_at(area, place)->job);
    return place;
}

}  // namespace

dsa_pointer take_rank(RankTable& table, dsa_area* area, DatabaseOid database, std::int64_t job) {
    LWLockAcquire(table.lock, LW_EXCLUSIVE);
    const dsa_pointer place =
        DsaPointerIsValid(table.free) ? free_rank(table, area) : new_rank(table, area);
    if (DsaPointerIsValid(place)) {
        JobRank* rank = rank_at(area, place);
        rank->database = database;
        rank->job = job;
        set_rank(area, place, 0, 0);
    }
    LWLockRelease(table.lock);
    return place;
}

void release_rank(RankTable& table, dsa_area* area, dsa_pointer place) {
    if (!DsaPointerIsValid(place)) return;
    LWLockAcquire(table.lock, LW_EXCLUSIVE);
    JobRank* rank = rank_at(area, place);
    rank->database = InvalidOid;
    rank->job = static_cast<std::int64_t>(table.free);
    table.free = place;
    LWLockRelease(table.lock);
}

void set_rank(dsa_area* area, dsa_pointer place, std::int64_t failures, std::int64_t runs) {
    if (!DsaPointerIsValid(place)) return;
    JobRank* rank = rank_at(area, place);
    rank->failures.store(static_cast<std::uint32_t>(Min(failures, std::int64_t{PG_UINT32_MAX})),
                         std::memory_order_relaxed);
    rank->runs.store(runs, std::memory_order_relaxed);
}

}  // namespace securatlas::pg
