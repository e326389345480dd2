// When a new worker is launched, and when a run waits behind a short one instead.
#include "securatlas/core/cron/worker_need.hpp"

#include <gtest/gtest.h>

namespace securatlas::core {
namespace {

constexpr int kProcessors = 4;

// How many workers there are in the end if each order of a burst is handed out by this rule, and a
// turn of the scheduler finds what was launched before in one of these states.
enum class Became { soon_free, occupied };
int grow(bool waits, Became became, int turns, int burst) {
    BusyWorkers workers{.waits = waits};
    for (int turn = 0; turn < turns; ++turn) {
        (became == Became::occupied ? workers.occupied : workers.soon_free) += workers.launching;
        workers.launching = 0;
        for (int order = 0; order < burst && wants_worker(workers, kProcessors); ++order) {
            ++workers.launching;
        }
    }
    return workers.soon_free + workers.occupied + workers.launching;
}

TEST(WorkerNeedTest, RunsThatOnlyComputeGetAsManyWorkersAsThereAreProcessors) {
    EXPECT_EQ(grow(false, Became::soon_free, 100, 1000), kProcessors);
}

TEST(WorkerNeedTest, RunsThatWaitGetAWorkerEach) {
    EXPECT_GE(grow(true, Became::soon_free, 6, 1000), 100);
}

TEST(WorkerNeedTest, NoRunWaitsBehindOnesThatAreNotSoonOver) {
    EXPECT_GE(grow(false, Became::occupied, 6, 1000), 100);
    EXPECT_TRUE(wants_worker({.occupied = 1000, .waits = false}, kProcessors));
}

TEST(WorkerNeedTest, AFewAreLaunchedAtFirstAndOccupiedOnesAreDoubled) {
    EXPECT_EQ(grow(false, Became::occupied, 1, 1000), kProcessors);
    EXPECT_EQ(grow(false, Became::occupied, 2, 1000), 2 * kProcessors);
    EXPECT_EQ(grow(false, Became::occupied, 4, 1000), 8 * kProcessors);
}

TEST(WorkerNeedTest, NoMoreThanTheBurstNeeds) { EXPECT_EQ(grow(true, Became::occupied, 1, 3), 3); }

TEST(WorkerNeedTest, OneProcessorIsNoReasonForOneWorker) {
    EXPECT_TRUE(wants_worker({.soon_free = 1, .waits = false}, 1));
    EXPECT_FALSE(wants_worker({.soon_free = 2, .waits = false}, 1));
    EXPECT_TRUE(wants_worker({.soon_free = 1, .waits = false}, 0));  // not known
}

}  // namespace
}  // namespace securatlas::core
