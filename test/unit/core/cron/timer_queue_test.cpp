#include "securatlas/core/cron/timer_queue.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <set>

namespace securatlas::core {
namespace {

struct Timer : TimerNode {
    int name = 0;
};

Instant at(int second) { return Instant(std::chrono::seconds(second)); }

TEST(TimerQueue, EmptyHasNoDeadline) {
    const TimerQueue<Timer> queue;
    EXPECT_EQ(queue.first_at(), kNever);
    EXPECT_EQ(queue.size(), 0u);
}

TEST(TimerQueue, PopsInOrderOfTime) {
    std::deque<Timer> timers(5);
    TimerQueue<Timer> queue;
    const int seconds[] = {30, 10, 50, 20, 40};
    for (int i = 0; i < 5; ++i) {
        timers[static_cast<std::size_t>(i)].name = seconds[i];
        queue.set(timers[static_cast<std::size_t>(i)], at(seconds[i]));
    }
    for (const int expected : {10, 20, 30, 40, 50}) {
        EXPECT_EQ(queue.first_at(), at(expected));
        EXPECT_EQ(queue.pop().name, expected);
    }
    EXPECT_EQ(queue.first_at(), kNever);
}

TEST(TimerQueue, SetMovesAnElementThatIsThere) {
    Timer one;
    Timer two;
    TimerQueue<Timer> queue;
    queue.set(one, at(1));
    queue.set(two, at(2));
    queue.set(one, at(3));
    EXPECT_EQ(queue.size(), 2u);
    EXPECT_EQ(&queue.pop(), &two);
    EXPECT_EQ(&queue.pop(), &one);
}

TEST(TimerQueue, NeverAndRemoveTakeItOut) {
    Timer one;
    TimerQueue<Timer> queue;
    queue.set(one, kNever);
    EXPECT_EQ(queue.size(), 0u);
    queue.set(one, at(1));
    queue.set(one, kNever);
    EXPECT_EQ(queue.size(), 0u);
    queue.remove(one);
    EXPECT_EQ(queue.size(), 0u);
    queue.set(one, at(2));
    EXPECT_EQ(queue.first_at(), at(2));
}

// Against a model that is slow and obvious.
TEST(TimerQueue, AgreesWithASortedSet) {
    std::mt19937 random(7);
    std::deque<Timer> timers(200);
    for (int i = 0; i < 200; ++i) timers[static_cast<std::size_t>(i)].name = i;
    TimerQueue<Timer> queue;
    std::map<int, Instant> model;
    for (int round = 0; round < 20000; ++round) {
        const int name = static_cast<int>(random() % 200);
        Timer& timer = timers[static_cast<std::size_t>(name)];
        const unsigned what = random() % 4;
        if (what < 2) {
            const Instant when = at(static_cast<int>(random() % 100));
            queue.set(timer, when);
            model[name] = when;
        } else if (what == 2) {
            queue.remove(timer);
            model.erase(name);
        } else if (!model.empty()) {
            const Instant first = queue.first_at();
            const Timer& popped = queue.pop();
            ASSERT_EQ(model.at(popped.name), first);
            for (const auto& [other, when] : model) ASSERT_GE(when, first) << other;
            model.erase(popped.name);
        }
        ASSERT_EQ(queue.size(), model.size());
    }
}

}  // namespace
}  // namespace securatlas::core
