// Fair shares: a role with many runs must not delay the runs of other roles.
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "scheduler_simulator.hpp"
#include "securatlas/core/cron/slot_share.hpp"
#include "securatlas/core/cron/turns.hpp"

namespace securatlas::core {
namespace {

// Hands out slots to roles that want as many as they can get, in their order, until nothing moves.
std::vector<int> fill(int slots, std::vector<int> used, const std::vector<int>& order) {
    for (bool moved = true; moved;) {
        moved = false;
        for (const int role : order) {
            const int free = slots - std::accumulate(used.begin(), used.end(), 0);
            if (free == 0 || !may_have_slot(used[static_cast<std::size_t>(role)], free)) continue;
            ++used[static_cast<std::size_t>(role)];
            moved = true;
        }
    }
    return used;
}

TEST(SlotShareTest, ARoleAloneHasSevenEighths) {
    EXPECT_EQ(fill(32, {0}, {0}), std::vector<int>{28});
    EXPECT_EQ(fill(8, {0}, {0}), std::vector<int>{7});
    EXPECT_EQ(fill(2, {0}, {0}), std::vector<int>{1});
    EXPECT_EQ(fill(1, {0}, {0}), std::vector<int>{1});
}

TEST(SlotShareTest, WhoComesLaterFindsASlot) {
    for (int slots = 2; slots <= 100; ++slots) {
        std::vector<int> used = fill(slots, {0, 0}, {0});
        EXPECT_LT(used[0], slots) << slots;
        used = fill(slots, used, {1, 0});
        EXPECT_GE(used[1], 1) << slots;
    }
}

TEST(SlotShareTest, RolesThatWantAllComeToTheSameNumber) {
    std::vector<int> used = fill(32, {0, 0}, {0});
    // One run after the other ends, always of the role that has more.
    for (int ended = 0; ended < 100; ++ended) {
        --used[used[0] >= used[1] ? 0 : 1];
        used = fill(32, used, {0, 1});
    }
    EXPECT_NEAR(used[0], used[1], 1);
    EXPECT_GE(used[0] + used[1], 28);
}

TEST(SlotShareTest, ARoleWithoutASlotMayAlwaysHaveOne) {
    EXPECT_TRUE(may_have_slot(0, 0));  // it is tried: how many are free is not always known
    EXPECT_FALSE(may_have_slot(1, 1));
}

TEST(TurnsTest, OwnersTakeTurns) {
    Turns<int, std::string> turns;
    for (int i = 0; i < 5; ++i) turns.push(1, "a" + std::to_string(i));
    turns.push(2, "b0");
    turns.push(2, "b1");
    turns.push(3, "c0");
    EXPECT_EQ(turns.at(0, 6), (std::vector<std::string>{"a0", "b0", "c0", "a1", "b1", "a2"}));
    EXPECT_EQ(turns.size(), 8U);
}

TEST(TurnsTest, WhatComesLaterIsNextInTurn) {
    Turns<int, std::string> turns;
    for (int i = 0; i < 1000; ++i) turns.push(1, "a");
    turns.remove_first(200);
    turns.push(2, "b");
    const std::vector<std::string> next = turns.at(0, 2);
    EXPECT_TRUE(next[0] == "b" || next[1] == "b");
}

TEST(TurnsTest, WhoWasIdleHasSavedNothingUp) {
    Turns<int, std::string> turns;
    for (int i = 0; i < 100; ++i) turns.push(1, "a");
    turns.remove_first(90);
    for (int i = 0; i < 100; ++i) turns.push(2, "b");
    const std::vector<std::string> next = turns.at(0, 10);
    EXPECT_NEAR(static_cast<double>(std::ranges::count(next, "a")), 5.0, 1.0);
}

TEST(TurnsTest, LookingRemovesNothing) {
    Turns<int, int> turns;
    turns.push(1, 7);
    EXPECT_EQ(turns.at(0, 10), std::vector<int>{7});
    EXPECT_EQ(turns.at(0, 10), std::vector<int>{7});
    turns.remove_first(1);
    EXPECT_TRUE(turns.empty());
}

// The machine's claims in the queue that the process around it keeps them in.
TEST(TurnsTest, OneClaimIsNotBehindTenThousandOfAnother) {
    Scheduler machine([] { return 0.5; });
    std::vector<Event> events;
    for (int id = 1; id <= 10'001; ++id) {
        Job job = test::make_job(id, "* * * * *");
        job.owner = OwnerId{id <= 10'000 ? 1U : 2U};
        events.push_back(JobLoaded{std::move(job)});
    }
    events.push_back(Started{test::kDay, std::nullopt, {}, {}});
    (void)machine.step(test::kDay, events);
    Turns<OwnerId, ClaimRun> claims;
    for (const Command& command : machine.step(test::kDay + std::chrono::minutes(1), {})) {
        const auto* claim = std::get_if<ClaimRun>(&command);
        if (claim != nullptr) claims.push(claim->owner, *claim);
    }
    ASSERT_EQ(claims.size(), 10'001U);
    const auto first = claims.at(0, 2);
    EXPECT_TRUE(first[0].occurrence.job == JobId{10'001} ||
                first[1].occurrence.job == JobId{10'001});
}

}  // namespace
}  // namespace securatlas::core
