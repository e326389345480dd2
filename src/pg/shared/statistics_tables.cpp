// Where the tables of the statistics are: in an area of shared memory that begins with a fixed size
// and grows by dynamic segments, because nobody knows the number of jobs when the server starts.
#include "shared/statistics_tables.hpp"

#include "securatlas/pg/border/process.hpp"
#include "shared/statistics_segment.hpp"

extern "C" {
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
}

namespace securatlas::pg {
namespace {

constexpr const char* kName = "securatlas_sched statistics";
// As pg_stat_activity shows who waits for one.
constexpr const char* kTranche = "CronStatistics";
constexpr std::size_t kFirstSize = std::size_t{256} * 1024;

struct Segment {
    int tranche;
    dshash_table_handle jobs;
    dshash_table_handle hosts;
    dshash_table_handle databases;
    RankTable ranks;
    alignas(MAXIMUM_ALIGNOF) char area[kFirstSize];
};

constinit Segment* segment = nullptr;
constinit StatisticsTables attached{};

template <class Entry>
dshash_parameters parameters() {
    return hash_table_parameters(sizeof(StatisticsKey), sizeof(Entry), segment->tranche);
}

template <class Entry>
dshash_table_handle create(dsa_area* area) {
    const dshash_parameters how = parameters<Entry>();
    dshash_table* table = dshash_create(area, &how, nullptr);
    const dshash_table_handle handle = dshash_get_hash_table_handle(table);
    dshash_detach(table);
    return handle;
}

// The tables themselves have to be in the segment: the postmaster cannot use dynamic ones.
void create_tables() {
    LWLock* lock = &GetNamedLWLockTranche(kTranche)->lock;
    segment->tranche = lock->tranche;
    segment->ranks = {};
    segment->ranks.lock = lock;
    dsa_area* area =
        dsa_create_in_place(segment->area, sizeof segment->area, segment->tranche, nullptr);
    dsa_pin(area);
    dsa_set_size_limit(area, sizeof segment->area);
    segment->jobs = create<JobStatistics>(area);
    segment->hosts = create<HostStatistics>(area);
    segment->databases = create<DatabaseStatistics>(area);
    dsa_set_size_limit(area, static_cast<std::size_t>(-1));
    dsa_detach(area);
}

void attach() {
    const MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
    dsa_area* area = dsa_attach_in_place(segment->area, nullptr);
    dsa_pin_mapping(area);
    const dshash_parameters jobs = parameters<JobStatistics>();
    const dshash_parameters hosts = parameters<HostStatistics>();
    const dshash_parameters databases = parameters<DatabaseStatistics>();
    attached.jobs = dshash_attach(area, &jobs, segment->jobs, nullptr);
    attached.hosts = dshash_attach(area, &hosts, segment->hosts, nullptr);
    attached.databases = dshash_attach(area, &databases, segment->databases, nullptr);
    attached.ranks = &segment->ranks;
    attached.area = area;
    MemoryContextSwitchTo(before);
}

}  // namespace

void request_statistics_segment() {
    RequestAddinShmemSpace(sizeof(Segment));
    RequestNamedLWLockTranche(kTranche, 1);
}

void start_statistics_segment() {
    const bool is_restart = segment != nullptr;
    bool found = false;
    segment = static_cast<Segment*>(ShmemInitStruct(kName, sizeof(Segment), &found));
    if (found) return;
    create_tables();
    check_statistics_files(is_restart);
}

StatisticsTables* statistics_tables() {
    if (segment == nullptr) return nullptr;
    if (attached.area == nullptr) attach();
    return &attached;
}

}  // namespace securatlas::pg
