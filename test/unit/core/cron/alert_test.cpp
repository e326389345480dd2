#include "securatlas/core/cron/alert.hpp"

#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"

namespace securatlas::core {
namespace {

using namespace std::chrono_literals;
using test::kDay;

AlertNews news(AlertEvent event) {
    return {.event = event, .subject = "night work", .job = 7, .since = kDay, .at = kDay + 90s};
}

TEST(AlertEvents, HaveNames) {
    for (const char* name : {"failed", "missed", "late", "overran", "paused", "recovered",
                             "succeeded", "request_failed", "scheduler_restarted"}) {
        const auto event = parse_alert_event(name);
        ASSERT_TRUE(event) << name;
        EXPECT_EQ(alert_event_name(*event), name);
    }
    EXPECT_FALSE(parse_alert_event("FAILED"));
    EXPECT_FALSE(parse_alert_event(""));
}

TEST(ToldAgain, TheFirstTimeAlways) { EXPECT_TRUE(is_told_again(0, kLongAgo, 24h, kDay)); }

TEST(ToldAgain, EachTimeWithoutAPause) {
    EXPECT_TRUE(is_told_again(1, kDay, 0s, kDay));
    EXPECT_TRUE(is_told_again(1000000, kDay, 0s, kDay));
}

TEST(ToldAgain, AfterPausesThatDoubleUpToADay) {
    const auto pause_is = [](int told, Duration pause, Duration first) {
        EXPECT_FALSE(is_told_again(told, kDay, first, kDay + pause - 1us)) << told;
        EXPECT_TRUE(is_told_again(told, kDay, first, kDay + pause)) << told;
    };
    pause_is(1, 5min, 5min);
    pause_is(2, 10min, 5min);
    pause_is(3, 20min, 5min);
    pause_is(9, 1280min, 5min);
    pause_is(10, 24h, 5min);
    pause_is(1000000, 24h, 5min);
    pause_is(1, 48h, 48h);
    pause_is(5, 48h, 48h);
}

TEST(ToldAgain, WhenTheClockThatItWasToldByWasAhead) {
    EXPECT_TRUE(is_told_again(1, kDay + 1h, 0s, kDay));
    EXPECT_TRUE(is_told_again(3, kDay + 1h, 5min, kDay));
}

TEST(AlertText, OfAFailure) {
    AlertNews one = news(AlertEvent::failed);
    one.run = 812;
    one.sqlstate = "57014";
    one.detail = "ERROR: canceling statement due to max_runtime\nCONTEXT: something";
    EXPECT_EQ(
        alert_text(one),
        "job 'night work' failed at 2026-11-24 00:01:30+00: run 812, 57014 canceling statement "
        "due to max_runtime. See: SELECT * FROM cron.job_run_details WHERE runid = 812");
    one.count = 3;
    EXPECT_EQ(
        alert_text(one),
        "job 'night work' failed 3 times in a row since 2026-11-24 00:00:00+00; last: run 812, "
        "57014 canceling statement due to max_runtime. See: SELECT * FROM cron.job_run_details "
        "WHERE runid = 812");
}

TEST(AlertText, OfTheOthers) {
    AlertNews missed = news(AlertEvent::missed);
    missed.count = 2;
    missed.detail = "missed: the scheduler was not running";
    EXPECT_EQ(
        alert_text(missed),
        "job 'night work' missed 2 occurrences since 2026-11-24 00:00:00+00; last: missed: the "
        "scheduler was not running. Its rule \"missed\" says which are made up for. See: SELECT "
        "* FROM cron.job_run_details WHERE jobid = 7 ORDER BY runid DESC LIMIT 10");
    AlertNews late = news(AlertEvent::late);
    late.run = 5;
    late.scheduled_at = kDay;
    EXPECT_EQ(
        alert_text(late),
        "job 'night work' started late at 2026-11-24 00:01:30+00; last: run 5, due at "
        "2026-11-24 00:00:00+00 and started at 2026-11-24 00:01:30+00. Its runs wait for other "
        "runs or for a worker. See: SELECT * FROM cron.scheduler_status");
    late.detail = "waits for a worker";
    EXPECT_EQ(
        alert_text(late),
        "job 'night work' is late at 2026-11-24 00:01:30+00; last: run 5, due at "
        "2026-11-24 00:00:00+00 and not started at 2026-11-24 00:01:30+00: waits for a worker. "
        "Its runs wait for other runs or for a worker. See: SELECT * FROM cron.scheduler_status");
    AlertNews recovered = news(AlertEvent::recovered);
    recovered.count = 1;
    EXPECT_EQ(
        alert_text(recovered),
        "job 'night work' succeeded again at 2026-11-24 00:01:30+00 after 1 incident since "
        "2026-11-24 00:00:00+00. See: SELECT * FROM cron.job_run_details WHERE jobid = 7 ORDER "
        "BY runid DESC LIMIT 10");
    AlertNews succeeded = news(AlertEvent::succeeded);
    succeeded.run = 6;
    EXPECT_EQ(alert_text(succeeded),
              "job 'night work' succeeded at 2026-11-24 00:01:30+00. See: SELECT * FROM "
              "cron.job_run_details WHERE runid = 6");
    AlertNews paused = news(AlertEvent::paused);
    paused.detail = "paused: 3 failures in a row";
    EXPECT_EQ(
        alert_text(paused),
        "job 'night work' was paused at 2026-11-24 00:01:30+00: paused: 3 failures in a row. It "
        "does not run until it is resumed. See: SELECT * FROM cron.jobs WHERE jobid = 7");
    AlertNews requests = news(AlertEvent::request_failed);
    requests.job = 0;
    requests.subject = "https://example.com";
    requests.request = 9;
    requests.count = 2;
    requests.detail = "HTTP status 503";
    EXPECT_EQ(
        alert_text(requests),
        "2 requests to https://example.com failed since 2026-11-24 00:00:00+00; last: request 9, "
        "HTTP status 503. They are not tried again. See: SELECT * FROM net.requests WHERE id = "
        "9");
}

}  // namespace
}  // namespace securatlas::core
