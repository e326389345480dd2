#include "securatlas/core/cron/run_policy.hpp"

#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"

namespace securatlas::core {
namespace {

using namespace std::chrono_literals;
using test::kDay;

// Fires at each multiple of `period` after kDay; counts how often it is asked.
NextAfter each(Duration period, int* asked = nullptr) {
    return [period, asked](Instant after) {
        if (asked != nullptr) ++*asked;
        if (after < kDay) return kDay;
        return kDay + ((after - kDay) / period + 1) * period;
    };
}

TEST(Overlap, StartsWhenNothingIsInTheWay) {
    for (const auto policy :
         {OverlapPolicy::buffer_one, OverlapPolicy::buffer_all, OverlapPolicy::skip,
          OverlapPolicy::cancel_other, OverlapPolicy::allow}) {
        EXPECT_EQ(decide_overlap(policy, 0, 0), OverlapDecision::start);
    }
}

TEST(Overlap, Matrix) {
    struct Case {
        OverlapPolicy policy;
        std::size_t buffered;
        OverlapDecision expected;
    };
    const Case cases[] = {
        {OverlapPolicy::buffer_one, 0, OverlapDecision::wait},
        {OverlapPolicy::buffer_one, 1, OverlapDecision::skip},
        {OverlapPolicy::buffer_all, 0, OverlapDecision::wait},
        {OverlapPolicy::buffer_all, kMaxBuffered - 1, OverlapDecision::wait},
        {OverlapPolicy::buffer_all, kMaxBuffered, OverlapDecision::skip},
        {OverlapPolicy::skip, 0, OverlapDecision::skip},
        {OverlapPolicy::cancel_other, 0, OverlapDecision::replace},
        {OverlapPolicy::cancel_other, 1, OverlapDecision::replace},
        {OverlapPolicy::allow, 5, OverlapDecision::start},
    };
    for (const Case& one : cases) {
        EXPECT_EQ(decide_overlap(one.policy, one.buffered + 1, one.buffered), one.expected)
            << static_cast<int>(one.policy) << " with " << one.buffered;
    }
}

TEST(FindMissed, TheEndBelongsToItAndTheStartDoesNot) {
    const MissedInstants missed = find_missed(each(1min), kDay, kDay + 3min, 10);
    EXPECT_EQ(missed.latest, (std::vector<Instant>{kDay + 1min, kDay + 2min, kDay + 3min}));
    EXPECT_EQ(missed.count, 3u);
    EXPECT_TRUE(missed.counted_all);
}

TEST(FindMissed, KeepsTheLatest) {
    const MissedInstants missed = find_missed(each(1min), kDay, kDay + 100min, 2);
    EXPECT_EQ(missed.latest, (std::vector<Instant>{kDay + 99min, kDay + 100min}));
    EXPECT_EQ(missed.count, 100u);
}

TEST(FindMissed, CountsUpToTheLimitExactly) {
    const Duration limit = 1s * kMaxCounted;
    EXPECT_TRUE(find_missed(each(1s), kDay, kDay + limit, 1).counted_all);
    const MissedInstants more = find_missed(each(1s), kDay, kDay + limit + 1s, 1);
    EXPECT_FALSE(more.counted_all);
    EXPECT_EQ(more.count, kMaxCounted);
    EXPECT_EQ(more.latest, std::vector<Instant>{kDay + limit + 1s});
}

TEST(FindMissed, AYearOfSecondsIsBounded) {
    const Instant until = kDay + std::chrono::days(365) + 1ms;
    int asked = 0;
    const MissedInstants few = find_missed(each(1s, &asked), kDay, until, 2);
    EXPECT_EQ(few.latest, (std::vector<Instant>{until - 1ms - 1s, until - 1ms}));
    EXPECT_LT(asked, 11000);

    asked = 0;
    const MissedInstants many = find_missed(each(1s, &asked), kDay, until, kMaxBuffered + 1);
    ASSERT_EQ(many.latest.size(), kMaxBuffered + 1);
    EXPECT_EQ(many.latest.back(), until - 1ms);
    EXPECT_EQ(many.latest.front(), until - 1ms - 1000s);
    EXPECT_LT(asked, 100000);
}

TEST(MissedToRun, Matrix) {
    const std::vector<MissedOccurrence> candidates = {
        {kDay, 1}, {kDay + 1min, 1}, {kDay + 2min, 1}};
    const Instant now = kDay + 3min;
    EXPECT_EQ(missed_to_run(MissedPolicy::skip, 1h, now, candidates), 0u);
    EXPECT_EQ(missed_to_run(MissedPolicy::once, 1h, now, candidates), 1u);
    EXPECT_EQ(missed_to_run(MissedPolicy::all, 1h, now, candidates), 3u);
    EXPECT_EQ(missed_to_run(MissedPolicy::all, 2min, now, candidates), 2u);
    EXPECT_EQ(missed_to_run(MissedPolicy::once, 1min, now, candidates), 1u);
    EXPECT_EQ(missed_to_run(MissedPolicy::once, 1min - 1us, now, candidates), 0u);
    EXPECT_EQ(missed_to_run(MissedPolicy::all, 1min - 1us, now, candidates), 0u);
    EXPECT_EQ(missed_to_run(MissedPolicy::all, 1h, now, {}), 0u);
}

TEST(Retry, ClassesThatCannotBeMended) {
    for (const char* hopeless : {"42601", "42P01", "28000", "28P01", "3D000", "22012"}) {
        EXPECT_FALSE(is_retryable(hopeless)) << hopeless;
    }
    for (const char* other : {"40001", "40P01", "57P01", "53300", "23505", "", "42", "3D0000"}) {
        EXPECT_TRUE(is_retryable(other)) << other;
    }
}

TEST(Retry, DoublesUpToAnHourAndEndsWithTheAttempts) {
    Job job;
    job.max_retries = 10;
    job.retry_period = 1min;
    EXPECT_EQ(retry_time(job, 1, kDay, kNever, 0.5), kDay + 1min);
    EXPECT_EQ(retry_time(job, 2, kDay, kNever, 0.5), kDay + 2min);
    EXPECT_EQ(retry_time(job, 6, kDay, kNever, 0.5), kDay + 32min);
    EXPECT_EQ(retry_time(job, 7, kDay, kNever, 0.5), kDay + 60min);
    EXPECT_EQ(retry_time(job, 10, kDay, kNever, 0.0), kDay + 45min);
    EXPECT_EQ(retry_time(job, 11, kDay, kNever, 0.5), std::nullopt);
}

TEST(Retry, NotAtOrAfterTheNextOccurrence) {
    Job job;
    job.max_retries = 1;
    EXPECT_EQ(retry_time(job, 1, kDay, kDay + 1min, 0.5), std::nullopt);
    EXPECT_EQ(retry_time(job, 1, kDay, kDay + 1min + 1us, 0.5), kDay + 1min);
}

TEST(UtcText, WholeSeconds) {
    EXPECT_EQ(utc_text(kDay + 2h + 1min + 999ms), "2026-11-24 02:01:00+00");
    EXPECT_EQ(utc_text(Instant(-1us)), "1969-12-31 23:59:59+00");
}

}  // namespace
}  // namespace securatlas::core
