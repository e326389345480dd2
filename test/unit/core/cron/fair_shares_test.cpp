// Fair shares: a role with many runs must not delay the runs of other roles.
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
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

template <class Item>
using IntTurns = Turns<int, int, Item>;

template <class Item>
std::vector<Item> first_of(const IntTurns<Item>& turns, std::size_t count) {
    return typename IntTurns<Item>::Walk(turns).next(count);
}

TEST(TurnsTest, OwnersTakeTurns) {
    IntTurns<std::string> turns;
    for (int i = 0; i < 5; ++i) turns.push(1, 0, "a" + std::to_string(i));
    turns.push(2, 0, "b0");
    turns.push(2, 0, "b1");
    turns.push(3, 0, "c0");
    EXPECT_EQ(first_of(turns, 6), (std::vector<std::string>{"a0", "b0", "c0", "a1", "b1", "a2"}));
    EXPECT_EQ(turns.size(), 8U);
}

TEST(TurnsTest, WhatComesLaterIsNextInTurn) {
    IntTurns<std::string> turns;
    for (int i = 0; i < 1000; ++i) turns.push(1, 0, "a");
    turns.remove_first(200);
    turns.push(2, 0, "b");
    const std::vector<std::string> next = first_of(turns, 2);
    EXPECT_TRUE(next[0] == "b" || next[1] == "b");
}

TEST(TurnsTest, WhoWasIdleHasSavedNothingUp) {
    IntTurns<std::string> turns;
    for (int i = 0; i < 100; ++i) turns.push(1, 0, "a");
    turns.remove_first(90);
    for (int i = 0; i < 100; ++i) turns.push(2, 0, "b");
    const std::vector<std::string> next = first_of(turns, 10);
    EXPECT_NEAR(static_cast<double>(std::ranges::count(next, "a")), 5.0, 1.0);
}

TEST(TurnsTest, LookingRemovesNothing) {
    IntTurns<int> turns;
    turns.push(1, 0, 7);
    EXPECT_EQ(first_of(turns, 10), std::vector<int>{7});
    EXPECT_EQ(first_of(turns, 10), std::vector<int>{7});
    turns.remove_first(1);
    EXPECT_TRUE(turns.empty());
}

TEST(TurnsTest, ItemsOfAnOwnerComeByRankAndOthersHaveTheirTurns) {
    IntTurns<std::string> turns;
    turns.push(1, 5, "a5");
    turns.push(1, 5, "a5 later");
    turns.push(1, 9, "a9");
    turns.push(2, 7, "b7");
    turns.push(2, 3, "b3");
    turns.push(1, 1, "a1");
    EXPECT_EQ(first_of(turns, 10),
              (std::vector<std::string>{"a1", "b3", "a5", "b7", "a5 later", "a9"}));
    // A walk goes on where it was; what it has passed is what is removed.
    IntTurns<std::string>::Walk walk(turns);
    EXPECT_EQ(walk.next(2), (std::vector<std::string>{"a1", "b3"}));
    EXPECT_EQ(walk.next(2), (std::vector<std::string>{"a5", "b7"}));
    turns.remove_first(4);
    turns.push(1, 0, "a0");
    turns.push(2, 0, "b0");
    EXPECT_EQ(first_of(turns, 10), (std::vector<std::string>{"a0", "b0", "a5 later", "a9"}));
}

// Whatever is pushed and removed: a walk shows what will be removed, and between two turns of an
// owner who has something each other such owner has one.
TEST(TurnsTest, AWalkIsTheOrderOfRemoval) {
    std::mt19937 random(7);
    IntTurns<std::pair<int, int>> turns;  // owner, rank
    for (int round = 0; round < 300; ++round) {
        for (auto left = random() % 8; left > 0; --left) {
            const int owner = static_cast<int>(random() % 5);
            const int rank = static_cast<int>(random() % 4);
            turns.push(owner, rank, {owner, rank});
        }
        const auto all = first_of(turns, 1000000);
        ASSERT_EQ(all.size(), turns.size());
        std::map<int, int> last_rank;
        std::map<int, int> taken;
        std::map<int, int> has;
        for (const auto& [owner, rank] : all) ++has[owner];
        for (const auto& [owner, rank] : all) {
            EXPECT_LE(last_rank[owner], rank);  // ranks begin at 0
            last_rank[owner] = rank;
            ++taken[owner];
            for (const auto& [other, count] : has) {
                EXPECT_GE(taken[other], std::min(count, taken[owner] - 2));
            }
        }
        const std::size_t removed = random() % (turns.size() + 1);
        turns.remove_first(removed);
        const auto rest = first_of(turns, 1000000);
        ASSERT_EQ(rest.size(), all.size() - removed);
        EXPECT_TRUE(std::equal(rest.begin(), rest.end(),
                               all.begin() + static_cast<std::ptrdiff_t>(removed)));
    }
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
    Turns<OwnerId, Instant, ClaimRun> claims;
    for (const Command& command : machine.step(test::kDay + std::chrono::minutes(1), {})) {
        const auto* claim = std::get_if<ClaimRun>(&command);
        if (claim != nullptr) claims.push(claim->owner, claim->rank, *claim);
    }
    ASSERT_EQ(claims.size(), 10'001U);
    const auto first = decltype(claims)::Walk(claims).next(2);
    EXPECT_TRUE(first[0].occurrence.job == JobId{10'001} ||
                first[1].occurrence.job == JobId{10'001});
}

}  // namespace
}  // namespace securatlas::core
