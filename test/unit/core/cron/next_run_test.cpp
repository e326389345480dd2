#include <gtest/gtest.h>

#include "schedule_texts.hpp"
#include "system_zone.hpp"

namespace securatlas::core::test {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

std::string next_of(std::string_view schedule, const std::string& zone, const std::string& after,
                    const std::string& anchor = "2026-01-01T00:00:00Z") {
    return iso(next_occurrence(read_schedule(schedule), system_zone(zone), from_iso(anchor),
                               from_iso(after)));
}

std::string next_three(std::string_view schedule, const std::string& zone,
                       const std::string& anchor) {
    std::string all, after = anchor;
    for (int i = 0; i < 3; ++i) {
        after = next_of(schedule, zone, after, anchor);
        all += (i == 0 ? "" : " ") + after;
    }
    return all;
}

// The same offset until `change`, another from then on; counts how often it is asked.
class OneChange : public Zone {
  public:
    OneChange(Instant change, seconds before, seconds after)
        : change_(change), before_(before), after_(after) {}
    ZoneSpan span_at(Instant instant) const override {
        ++calls;
        return instant < change_ ? ZoneSpan{before_, change_} : ZoneSpan{after_, kNever};
    }
    mutable int calls = 0;

  private:
    Instant change_;
    seconds before_, after_;
};

TEST(NextRun, IsStrictlyAfter) {
    EXPECT_EQ(next_of("0 2 * * *", "UTC", "2026-11-23T01:59:59Z"), "2026-11-23T02:00:00Z");
    EXPECT_EQ(next_of("0 2 * * *", "UTC", "2026-11-23T02:00:00Z"), "2026-11-24T02:00:00Z");
    const Schedule schedule = read_schedule("0 2 * * *");
    const Instant two = from_iso("2026-11-23T02:00:00Z");
    EXPECT_EQ(next_occurrence(schedule, system_zone("UTC"), kLongAgo, two - Duration(1)), two);
}

TEST(NextRun, EveryHourFollowsElapsedTimeThroughARepeatedHour) {
    // In the second pass of Berlin's 02:00-03:00.
    EXPECT_EQ(next_of("30 * * * *", "Europe/Berlin", "2026-10-25T01:00:00Z"),
              "2026-10-25T01:30:00Z");
    // Wall clock: 02:30 has been, so that it does not come again.
    EXPECT_EQ(next_of("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z"),
              "2026-10-26T01:30:00Z");
}

TEST(NextRun, GapFiresTogetherWithWhatIsDueAtItsEnd) {
    EXPECT_EQ(next_of("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"),
              "2026-03-29T01:00:00Z");
    EXPECT_EQ(next_of("30 2,3 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z"),
              "2026-03-29T01:30:00Z");
    EXPECT_EQ(next_of("0 2,3 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z"),
              "2026-03-30T00:00:00Z");
}

TEST(NextRun, GapInElapsedTimeFiresNothing) {
    // 02:00 to 02:30 is skipped at 15:30Z.
    EXPECT_EQ(next_of("15 * * * *", "Australia/Lord_Howe", "2026-10-03T14:45:00Z"),
              "2026-10-03T16:15:00Z");
    EXPECT_EQ(next_of("45 * * * *", "Australia/Lord_Howe", "2026-10-03T15:15:00Z"),
              "2026-10-03T15:45:00Z");
}

// Local mean time of Paris was UTC + 9 min 21 s until 1911.
TEST(NextRun, OffsetsWithSeconds) {
    EXPECT_EQ(next_of("0 2 * * *", "Europe/Paris", "1910-06-01T00:00:00Z"), "1910-06-01T01:50:39Z");
    EXPECT_EQ(next_of("*/30 * * * *", "Europe/Paris", "1910-06-01T00:00:00Z"),
              "1910-06-01T00:20:39Z");
}

TEST(NextRun, WholeDayRepeated) {
    const Instant change = from_iso("2026-06-02T12:00:00Z");
    const OneChange zone(change, hours(12), -hours(12));
    const Schedule daily = read_schedule("0 6 * * *");
    // 06:00 on June 2 passes at 18:00Z on June 1, and is shown again a day later.
    Instant after = from_iso("2026-06-01T17:00:00Z");
    std::string all;
    for (int i = 0; i < 3; ++i) {
        after = *next_occurrence(daily, zone, kLongAgo, after);
        all += iso(after) + " ";
    }
    EXPECT_EQ(all, "2026-06-01T18:00:00Z 2026-06-03T18:00:00Z 2026-06-04T18:00:00Z ");
}

TEST(NextRun, ChangeInsideAMinute) {
    const Instant change = from_iso("2026-06-02T12:00:30Z");
    const OneChange zone(change, seconds(0), minutes(45));
    EXPECT_EQ(iso(next_occurrence(read_schedule("20 12 * * *"), zone, kLongAgo,
                                  from_iso("2026-06-02T12:00:00Z"))),
              "2026-06-02T12:00:30Z");
    EXPECT_EQ(iso(next_occurrence(read_schedule("* * * * *"), zone, kLongAgo,
                                  from_iso("2026-06-02T12:00:00Z"))),
              "2026-06-02T12:01:00Z");
}

// Every match from 1901 to 2499 against a walk over all days.
TEST(NextRun, RareDates) {
    using namespace std::chrono;
    struct Row {
        const char* text;
        bool (*matches)(year_month_day date, unsigned weekday);
    };
    const Row table[] = {
        {"0 0 29 2 *",
         [](year_month_day d, unsigned) { return d.month() == February && d.day() == day(29); }},
        {"0 0 29 2 */7",
         [](year_month_day d, unsigned w) {
             return d.month() == February && d.day() == day(29) && w == 0;
         }},
        {"0 0 * 2 3#5",
         [](year_month_day d, unsigned w) {
             return d.month() == February && d.day() == day(29) && w == 3;
         }},
        {"0 0 1W 1 *",
         [](year_month_day d, unsigned w) {
             const auto n = static_cast<unsigned>(d.day());
             return d.month() == January &&
                    ((n == 1 && w >= 1 && w <= 5) || ((n == 2 || n == 3) && w == 1));
         }},
        {"0 0 L-28 2 ?",
         [](year_month_day d, unsigned) {
             return d.month() == February && d.day() == day(1) && d.year().is_leap();
         }},
    };
    for (const Row& row : table) {
        const Schedule schedule = read_schedule(row.text);
        std::optional<Instant> next = kLongAgo;
        for (sys_days date = year(1901) / 1 / 1; date < sys_days(year(2500) / 1 / 1);
             date += days(1)) {
            if (!row.matches(date, weekday(date).c_encoding())) continue;
            next = next_occurrence(schedule, system_zone("UTC"), kLongAgo, *next);
            ASSERT_TRUE(next) << row.text;
            ASSERT_EQ(iso(*next), iso(Instant(date))) << row.text;
        }
        EXPECT_EQ(next_occurrence(schedule, system_zone("UTC"), kLongAgo, *next), std::nullopt);
    }
}

TEST(NextRun, AsksTheZoneSeldom) {
    const OneChange zone(from_iso("2026-03-29T01:00:00Z"), hours(1), hours(2));
    const auto calls_for = [&](const char* text) {
        zone.calls = 0;
        EXPECT_TRUE(next_occurrence(read_schedule(text), zone, from_iso("2020-01-31T00:00:00Z"),
                                    from_iso("2026-11-23T12:00:00Z")));
        return zone.calls;
    };
    EXPECT_EQ(calls_for("*/5 * * * *"), 1);
    EXPECT_EQ(calls_for("0 2 * * *"), 2);
    EXPECT_EQ(calls_for("0 0 29 2 */7"), 2);
    EXPECT_EQ(calls_for("30 seconds"), 0);
    EXPECT_LE(calls_for("@every 1 month"), 5);
}

TEST(NextRun, ExtremeInstants) {
    const Zone& utc = system_zone("UTC");
    for (const char* text : {"* * * * *", "0 2 * * *", "7 seconds", "@every 1 day",
                             "@every 2147483647 months 2147483647 days 2147483647 hours"}) {
        const Schedule schedule = read_schedule(text);
        EXPECT_EQ(next_occurrence(schedule, utc, kNever, kNever), std::nullopt) << text;
        EXPECT_EQ(next_occurrence(schedule, utc, kLongAgo, kNever), std::nullopt) << text;
    }
    EXPECT_EQ(iso(next_occurrence(read_schedule("* * * * *"), utc, kLongAgo, kLongAgo)),
              "1901-01-01T00:00:00Z");
    for (const char* text :
         {"@every 2147483647 months", "@every 2147483647 days", "@every 2147483647 hours"}) {
        EXPECT_EQ(next_occurrence(read_schedule(text), utc, kLongAgo, kLongAgo), std::nullopt);
    }
    EXPECT_EQ(next_of("@every 7000 months", "UTC", "2026-01-01T00:00:00Z"), "none");
}

TEST(NextRun, AtAndReboot) {
    EXPECT_EQ(next_of("@at 2026-11-23T02:00:00Z", "UTC", "2026-11-23T01:59:59Z"),
              "2026-11-23T02:00:00Z");
    EXPECT_EQ(next_of("@at 2026-11-23T02:00:00Z", "UTC", "2026-11-23T02:00:00Z"), "none");
    EXPECT_EQ(next_of("@reboot", "UTC", "2026-11-23T02:00:00Z"), "none");
}

TEST(NextRun, SecondsCountFromTheEpoch) {
    // 2026-11-23T00:00:00Z is 2 s after a multiple of 7 s.
    EXPECT_EQ(next_of("7 seconds", "UTC", "2026-11-23T00:00:00Z", "2026-11-22T12:34:56Z"),
              iso(Instant(seconds((1795392000 / 7 + 1) * 7))));
    EXPECT_EQ(next_of("30 seconds", "UTC", "2026-11-23T00:00:30Z", "2026-11-23T00:00:13Z"),
              "2026-11-23T00:01:00Z");
    EXPECT_EQ(next_of("30 seconds", "UTC", "1969-12-31T23:59:10Z"), "1969-12-31T23:59:30Z");
}

TEST(NextRun, EveryCountsFromItsAnchor) {
    EXPECT_EQ(next_three("@every 90 seconds", "UTC", "2026-11-23T00:00:13Z"),
              "2026-11-23T00:01:43Z 2026-11-23T00:03:13Z 2026-11-23T00:04:43Z");
    EXPECT_EQ(next_of("@every 90 seconds", "UTC", "2026-11-23T12:00:00Z", "2026-11-23T00:00:13Z"),
              "2026-11-23T12:00:13Z");
    // Before its anchor, the first is one interval behind it.
    EXPECT_EQ(next_of("@every 1 hour", "UTC", "2026-11-01T00:00:00Z", "2026-11-23T00:30:00Z"),
              "2026-11-23T01:30:00Z");
}

TEST(NextRun, EveryMonthKeepsTheDay) {
    EXPECT_EQ(next_three("@every 1 month", "UTC", "2027-01-31T06:00:00Z"),
              "2027-02-28T06:00:00Z 2027-03-31T06:00:00Z 2027-04-30T06:00:00Z");
    EXPECT_EQ(next_of("@every 1 month", "UTC", "2077-01-31T06:00:00Z", "2027-01-31T06:00:00Z"),
              "2077-02-28T06:00:00Z");
    EXPECT_EQ(next_of("@every 12 months", "UTC", "2300-01-01T00:00:00Z", "1904-02-29T00:00:00Z"),
              "2300-02-28T00:00:00Z");
}

TEST(NextRun, EveryDayKeepsTheLocalTime) {
    EXPECT_EQ(next_three("@every 1 day", "Europe/Berlin", "2026-03-27T01:30:00Z"),
              "2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z");
    EXPECT_EQ(next_three("@every 1 day", "Europe/Berlin", "2026-10-24T00:30:00Z"),
              "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z 2026-10-27T01:30:00Z");
    EXPECT_EQ(next_three("@every 1 day", "Pacific/Apia", "2011-12-28T18:00:00Z"),
              "2011-12-29T18:00:00Z 2011-12-30T10:00:00Z 2011-12-30T18:00:00Z");
    EXPECT_EQ(next_three("@every 1 day 1 hour", "UTC", "2026-11-23T00:00:00Z"),
              "2026-11-24T01:00:00Z 2026-11-25T02:00:00Z 2026-11-26T03:00:00Z");
}

// A sequence from its beginning and a jump into its middle agree.
TEST(NextRun, EveryAgreesWithItselfOverCenturies) {
    const Zone& zone = system_zone("America/New_York");
    const Instant anchor = from_iso("1999-12-31T06:45:10Z");
    for (const char* text : {"@every 1 month", "@every 1 day", "@every 7 days 86399 seconds",
                             "@every 1 month 1 day", "@every 5 months 3 hours"}) {
        const Schedule schedule = read_schedule(text);
        Instant previous = anchor;
        for (int i = 0; i < 3000; ++i) {
            const auto next = next_occurrence(schedule, zone, anchor, previous);
            if (!next) break;
            ASSERT_GT(*next, previous);
            ASSERT_EQ(next_occurrence(schedule, zone, anchor, *next - Duration(1)), next) << text;
            previous = *next;
        }
        EXPECT_GT(previous, from_iso("2007-01-01T00:00:00Z")) << text;
    }
}

}  // namespace
}  // namespace securatlas::core::test
