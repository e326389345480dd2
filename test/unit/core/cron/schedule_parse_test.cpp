#include <gtest/gtest.h>

#include "schedule_texts.hpp"

namespace securatlas::core::test {
namespace {

std::string detail_of(std::string_view text) {
    const auto parsed = parse_schedule(text, test_literals());
    return parsed ? "valid" : parsed.error().detail;
}

CronFields fields_of(std::string_view text) {
    return std::get<CronFields>(read_schedule(text).body());
}

template <class Set>
constexpr Set set_of(std::initializer_list<int> members) {
    std::uint64_t set = 0;
    for (const int member : members) set |= std::uint64_t{1} << member;
    return static_cast<Set>(set);
}

constexpr auto minutes = set_of<std::uint64_t>;
constexpr auto days = set_of<std::uint32_t>;
constexpr auto weekdays = set_of<std::uint8_t>;

TEST(ParseSchedule, ErrorHasThreeParts) {
    const auto parsed = parse_schedule("60 * * * *", test_literals());
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().message, "invalid schedule: 60 * * * *");
    EXPECT_EQ(parsed.error().detail, "At character 1, \"60\" is out of range 0-59 for the minute.");
    EXPECT_EQ(parsed.error().hint,
              "Use cron format (e.g. 5 4 * * *), or interval format '[1-59] seconds'");
}

TEST(ParseSchedule, DetailSaysWhatIsWrongAndWhere) {
    const std::pair<const char*, const char*> table[] = {
        {"", "At character 1, a value is missing in the minute."},
        {"   ", "At character 4, a value is missing in the minute."},
        {"*", "At character 2, a value is missing in the hour."},
        {"* * * *", "At character 8, a value is missing in the day of week."},
        {"* * * * * *",
         "At character 11, there is text after the fifth field. pg_cron ignores it."},
        {"* * * * * select 1",
         "At character 11, there is text after the fifth field. pg_cron ignores it."},
        {"0 24 * * *", "At character 3, \"24\" is out of range 0-23 for the hour."},
        {"0 0 0 * *", "At character 5, \"0\" is out of range 1-31 for the day of month."},
        {"0 0 32 * *", "At character 5, \"32\" is out of range 1-31 for the day of month."},
        {"0 0 * 13 *", "At character 7, \"13\" is out of range 1-12 for the month."},
        {"0 0 * * 8", "At character 9, \"8\" is out of range 0-7 for the day of week."},
        {"4294967296 * * * *",
         "At character 1, \"4294967296\" is out of range 0-59 for the minute."},
        {"18446744073709551616 * * * *",
         "At character 1, \"18446744073709551616\" is out of range 0-59 for the minute."},
        {"0-99999999999999999999999 * * * *",
         "At character 3, \"99999999999999999999...\" is out of range 0-59 for the minute."},
        {"*/0 * * * *", "At character 3, \"0\" is out of range 1-59 for the minute."},
        {"*/60 * * * *", "At character 3, \"60\" is out of range 1-59 for the minute."},
        {"* */24 * * *", "At character 5, \"24\" is out of range 1-23 for the hour."},
        {"* * * * */8", "At character 11, \"8\" is out of range 1-7 for the day of week."},
        {"1,,2 * * * *", "At character 3, \",\" is unexpected in the minute."},
        {"1, * * * *", "At character 3, a value is missing in the minute."},
        {"-5 * * * *", "At character 1, \"-\" is unexpected in the minute."},
        {"+5 * * * *", "At character 1, \"+\" is unexpected in the minute."},
        {"1- * * * *", "At character 3, a value is missing in the minute."},
        {"1-2-3 * * * *",
         "At character 4, \"-\" is unexpected in the minute. pg_cron skips the rest of the field."},
        {"*/ * * * *", "At character 3, a value is missing in the minute."},
        {"*/2/2 * * * *",
         "At character 4, \"/\" is unexpected in the minute. pg_cron skips the rest of the field."},
        {"*-5 * * * *",
         "At character 2, \"-\" is unexpected in the minute. pg_cron skips the rest of the field."},
        {"0 0 * foo *", "At character 7, the name \"foo\" is unknown in the month."},
        {"0 0 * january *", "At character 10, \"u\" is unexpected in the month."},
        {"0 0 * mon *", "At character 7, the name \"mon\" is unknown in the month."},
        {"0 0 * * jan", "At character 9, the name \"jan\" is unknown in the day of week."},
        {"0 0 mon * *", "At character 5, \"m\" is unexpected in the day of month."},
        {"L * * * *", "At character 1, \"L\" is unexpected in the minute."},
        {"0 0 * * L", "At character 9, the name \"L\" is unknown in the day of week."},
        {"0 0 L-0 * *", "At character 7, \"0\" is out of range 1-30 for the day of month."},
        {"0 0 L-31 * *", "At character 7, \"31\" is out of range 1-30 for the day of month."},
        {"0 0 LW-1 * *", "At character 7, \"-\" is unexpected in the day of month."},
        {"0 0 L/2 * *", "At character 6, \"/\" is unexpected in the day of month."},
        {"0 0 $W * *", "At character 6, \"W\" is unexpected in the day of month."},
        {"0 0 5L * *", "At character 6, \"L\" is unexpected in the day of month."},
        {"0 0 1-5W * *", "At character 8, \"W\" is unexpected in the day of month."},
        {"0 0 32W * *", "At character 5, \"32\" is out of range 1-31 for the day of month."},
        {"0 0 5#2 * *",
         "At character 6, \"#\" is unexpected in the day of month. pg_cron skips the rest of the "
         "field."},
        {"0 0 * * 5#0", "At character 11, \"0\" is out of range 1-5 for the day of week."},
        {"0 0 * * 5#6", "At character 11, \"6\" is out of range 1-5 for the day of week."},
        {"0 0 * * 5#", "At character 11, a value is missing in the day of week."},
        {"0 0 * * 1-5L", "At character 12, \"L\" is unexpected in the day of week."},
        {"0 0 * * 5W", "At character 10, \"W\" is unexpected in the day of week."},
        {"0 seconds", "At character 1, \"0\" is out of range 1-59 for the seconds."},
        {"60 seconds", "At character 1, \"60\" is out of range 1-59 for the seconds."},
        {"4294967297 seconds",
         "At character 1, \"4294967297\" is out of range 1-59 for the seconds."},
        {"30 seconds ago", "At character 12, there is text after the interval."},
        {"-1 seconds", "At character 1, \"-\" is unexpected in the minute."},
        {"5 minutes", "At character 3, \"m\" is unexpected in the hour."},
        {"@", "At character 1, the macro \"@\" is unknown."},
        {"@fortnightly", "At character 1, the macro \"@fortnightly\" is unknown."},
        {"@daily @daily", "At character 8, there is text after the macro. pg_cron ignores it."},
        {"@every", "At character 7, an interval is missing after @every."},
        {"@every 3 parsecs", "At character 8, the interval is not valid: no unit \"parsecs\"."},
        {"@every 0 days", "At character 8, the interval is shorter than one second."},
        {"@every 999 milliseconds", "At character 8, the interval is shorter than one second."},
        {"@every 1 month -1 day", "At character 8, the interval has a negative part."},
        {"@every 1 day -1 seconds", "At character 8, the interval has a negative part."},
        {"@every -1 month 60 days", "At character 8, the interval has a negative part."},
        {"@at", "At character 4, a time is missing after @at."},
        {"@at noon", "At character 5, the time is not valid: not an instant: noon."},
        {"@at infinity", "At character 5, the time is not in the years 1 to 9999."},
        {"CRON_TZ=", "At character 9, the name of a time zone is missing."},
        {"TZ= * * * * *", "At character 4, the name of a time zone is missing."},
        {"CRON_TZ=UTC", "At character 12, a value is missing in the minute."},
        {"CRON_TZ=UTC 60 * * * *", "At character 13, \"60\" is out of range 0-59 for the minute."},
        {"cron_tz=UTC * * * * *", "At character 1, \"c\" is unexpected in the minute."},
        {"*10 * * * *",
         "At character 2, \"1\" is unexpected in the minute. pg_cron skips the rest of the field."},
        {"* * * * *x",
         "At character 10, \"x\" is unexpected in the day of week. pg_cron skips the rest of the "
         "field."},
        {"1,2;3 * * * *",
         "At character 4, \";\" is unexpected in the minute. pg_cron skips the rest of the field."},
        {"1.5 seconds", "At character 2, \".\" is unexpected in the minute."},
        {"*10 99 * * *", "At character 2, \"1\" is unexpected in the minute."},
        {"*10 0 L * *", "At character 2, \"1\" is unexpected in the minute."},
        {"0 0 L * * *", "At character 11, there is text after the fifth field."},
        {"*10 0 $ * * *",
         "At character 2, \"1\" is unexpected in the minute. pg_cron skips the rest of the field."},
        {"5/10/2 * * * *", "At character 5, \"/\" is unexpected in the minute."},
        {"?x * * * *", "At character 2, \"x\" is unexpected in the minute."},
        {"* *\n* * *", "At character 5, a second line begins. pg_cron reads the first line only."},
        {"0 1 * * *\n0 2 * * *\n",
         "At character 11, a second line begins. pg_cron reads the first line only."},
        {"* * * *\r *", "At character 8, byte 0x0D is not allowed."},
        {"# * * * * *", "At character 12, a value is missing in the minute."},
        {"* * * * #2", "At character 8, a value is missing in the day of week."},
        {"* * *\v* *", "At character 6, byte 0x0B is not allowed."},
        {"* * * * \xC3\xA9", "At character 9, byte 0xC3 is not allowed."},
        {"* * * * *\x7F", "At character 10, byte 0x7F is not allowed."},
    };
    for (const auto& [text, detail] : table) EXPECT_EQ(detail_of(text), detail) << text;
}

TEST(ParseSchedule, EndsOfLinesAndCommentsAroundItMeanNothing) {
    for (const char* text : {"0 3 * * *\n", "\n0 3 * * *", "\r\n  0 3 * * *\t\r\n\r\n",
                             "0 3 * * * # nightly", "0 3 * * *\t#\n",
                             "# n\xC3\xA4"
                             "chtlich\n0 3 * * *\n# 0 4 * * *\n",
                             "#\r\n0 3 * * *"}) {
        EXPECT_EQ(detail_of(text), "valid") << text;
        EXPECT_EQ(fields_of(text).hours, set_of<std::uint32_t>({3})) << text;
    }
    EXPECT_EQ(read_schedule("\n30 seconds # often\n").kind(), ScheduleKind::every);
    EXPECT_EQ(read_schedule("@reboot\n").kind(), ScheduleKind::reboot);
    EXPECT_EQ(read_schedule("CRON_TZ=UTC 0 3 * * * # UTC\n").zone(), "UTC");
    EXPECT_EQ(detail_of("+5 seconds"), "valid");
    // A "#" within a field is none.
    EXPECT_EQ(fields_of("0 0 * * 5#2 # the second").nth_weekdays[1], weekdays({5}));
}

TEST(ParseSchedule, NulIsNotTheEnd) {
    using namespace std::string_view_literals;
    const auto parsed = parse_schedule("* * * * *\0"sv, test_literals());
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().detail, "At character 10, byte 0x00 is not allowed.");
    EXPECT_EQ(parsed.error().message, "invalid schedule: * * * * *\\x00");
}

TEST(ParseSchedule, LengthIsBounded) {
    std::string text = "0";
    while (text.size() + 10 <= 999) text += ",0";
    text += " * * * *";
    ASSERT_EQ(text.size(), 999U);
    EXPECT_EQ(detail_of(text), "valid");
    EXPECT_EQ(detail_of(text + " "), "At character 1000, the limit of 999 bytes is exceeded.");
}

TEST(ParseSchedule, MessageIsCutAndEscaped) {
    const auto parsed = parse_schedule(std::string(5000, '\x1B'), test_literals());
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().message.size(), std::string("invalid schedule: ...").size() + 200 * 4);
    EXPECT_TRUE(parsed.error().message.starts_with("invalid schedule: \\x1B\\x1B"));
}

TEST(ParseSchedule, ValuesRangesAndSteps) {
    EXPECT_EQ(fields_of("05 * * * *").minutes, minutes({5}));
    EXPECT_EQ(fields_of("1,3,1 * * * *").minutes, minutes({1, 3}));
    EXPECT_EQ(fields_of("1-3,10 * * * *").minutes, minutes({1, 2, 3, 10}));
    EXPECT_EQ(fields_of("*/20 * * * *").minutes, minutes({0, 20, 40}));
    EXPECT_EQ(fields_of("?/20 * * * *").minutes, minutes({0, 20, 40}));
    EXPECT_EQ(fields_of("10-30/10 * * * *").minutes, minutes({10, 20, 30}));
    EXPECT_EQ(fields_of("45/5 * * * *").minutes, minutes({45, 50, 55}));
    EXPECT_EQ(fields_of("*/59 * * * *").minutes, minutes({0, 59}));
    EXPECT_EQ(fields_of("58-3/2 * * * *").minutes, minutes({58, 0, 2}));
    EXPECT_EQ(fields_of("59-4/3 * * * *").minutes, minutes({59, 2}));
    EXPECT_EQ(fields_of("0\t0 \t 30-2 * *").days, days({30, 31, 1, 2}));
    EXPECT_EQ(fields_of("0 0 1 NOV-feb *").months, set_of<std::uint16_t>({11, 12, 1, 2}));
    EXPECT_EQ(fields_of("  0 0 1 * *  "), fields_of("0 0 1 * *"));
    EXPECT_EQ(fields_of("* * * * *").hours, kAllHours);
    EXPECT_EQ(fields_of("* 12-11 * * *").hours, kAllHours);
}

TEST(ParseSchedule, SundayIsZeroAndSeven) {
    EXPECT_EQ(fields_of("0 0 * * 0").weekdays, weekdays({0}));
    EXPECT_EQ(fields_of("0 0 * * 7").weekdays, weekdays({0}));
    EXPECT_EQ(fields_of("0 0 * * 7-7").weekdays, weekdays({0}));
    EXPECT_EQ(fields_of("0 0 * * 7-2").weekdays, weekdays({0, 1, 2}));
    EXPECT_EQ(fields_of("0 0 * * Fri-Mon").weekdays, weekdays({5, 6, 0, 1}));
    EXPECT_EQ(fields_of("0 0 * * fri-tue/2").weekdays, weekdays({5, 0, 2}));
    EXPECT_EQ(fields_of("0 0 * * sat-sun").weekdays, weekdays({6, 0}));
    EXPECT_EQ(fields_of("0 0 * * sun-tue").weekdays, weekdays({0, 1, 2}));
    EXPECT_EQ(fields_of("0 0 * * 0-7").weekdays, kAllWeekdays);
    EXPECT_EQ(fields_of("0 0 * * */3").weekdays, weekdays({0, 3, 6}));
    EXPECT_EQ(fields_of("0 0 * * 1/3").weekdays, weekdays({1, 4, 0}));
}

TEST(ParseSchedule, DaysByPosition) {
    EXPECT_EQ(fields_of("0 0 L * *").days_before_last, 1U);
    EXPECT_EQ(fields_of("0 0 $ * *"), fields_of("0 0 l * *"));
    EXPECT_EQ(fields_of("0 0 L-2,L-30 * *").days_before_last, days({2, 30}));
    EXPECT_EQ(fields_of("0 0 LW * *").nearest_weekdays, 1U);
    EXPECT_EQ(fields_of("0 0 15W,1w,20 * *").nearest_weekdays, days({1, 15}));
    EXPECT_EQ(fields_of("0 0 15W,1w,20 * *").days, days({20}));
    EXPECT_EQ(fields_of("0 0 * * 5L,sunL").last_weekdays, weekdays({5, 0}));
    EXPECT_EQ(fields_of("0 0 * * 7#1,fri#5").nth_weekdays[0], weekdays({0}));
    EXPECT_EQ(fields_of("0 0 * * 7#1,fri#5").nth_weekdays[4], weekdays({5}));
}

TEST(ParseSchedule, FirstCharacterDecidesWhetherBothDaysMustMatch) {
    EXPECT_FALSE(fields_of("0 0 1 * 1").both_days);
    EXPECT_FALSE(fields_of("0 0 1-31 * 1").both_days);
    EXPECT_FALSE(fields_of("0 0 1,* * 1").both_days);
    EXPECT_FALSE(fields_of("0 * 1 * 1").both_days);
    EXPECT_TRUE(fields_of("0 0 * * 1").both_days);
    EXPECT_TRUE(fields_of("0 0 */2 * 1").both_days);
    EXPECT_TRUE(fields_of("0 0 ? * 1").both_days);
    EXPECT_TRUE(fields_of("0 0 1 * ?").both_days);
    EXPECT_TRUE(fields_of("0 0 1 * */2").both_days);
    EXPECT_TRUE(fields_of("0 0 *,1 * 1").both_days);
}

TEST(ParseSchedule, Macros) {
    const std::pair<const char*, const char*> table[] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"}, {"@Hourly ", "0 * * * *"},
    };
    for (const auto& [macro, text] : table) EXPECT_EQ(fields_of(macro), fields_of(text)) << macro;
    EXPECT_EQ(read_schedule("@reboot").kind(), ScheduleKind::reboot);
    EXPECT_EQ(read_schedule("@restart").kind(), ScheduleKind::reboot);
    EXPECT_EQ(read_schedule("@every 1 day").kind(), ScheduleKind::every);
    EXPECT_EQ(read_schedule("@at 2026-11-23T02:00:00Z").kind(), ScheduleKind::at);
}

TEST(ParseSchedule, SecondsInAnyCaseAndSpacing) {
    for (const char* text :
         {"30 seconds", "30 second", "30seconds", " 30  \t SECONDS ", "030 Second"}) {
        const auto every = std::get<Schedule::Every>(read_schedule(text).body());
        EXPECT_TRUE(every.from_epoch) << text;
        EXPECT_EQ(every.interval.time, std::chrono::seconds(30)) << text;
    }
}

TEST(ParseSchedule, ZonePrefix) {
    EXPECT_EQ(read_schedule("CRON_TZ=Europe/Berlin 0 2 * * *").zone(), "Europe/Berlin");
    EXPECT_EQ(read_schedule("TZ=UTC @daily").zone(), "UTC");
    EXPECT_EQ(read_schedule("TZ=UTC 30 seconds").kind(), ScheduleKind::every);
    EXPECT_EQ(read_schedule("0 2 * * *").zone(), std::nullopt);
}

TEST(ParseSchedule, WhatNeverFiresIsAnError) {
    const char* never[] = {
        "0 0 30 2 *",   "0 0 31 4,6,9,11 *", "0 0 31W 2 *",  "0 0 30W 2 *",   "0 0 31W apr *",
        "0 0 L-30 4 *", "0 0 L-29 2 *",      "0 0 30 2 */7", "0 0 30,31 2 ?",
    };
    for (const char* text : never) EXPECT_NE(detail_of(text), "valid") << text;
    EXPECT_EQ(detail_of("0 0 30 2 *"),
              "At character 5, no day of any year matches this date. pg_cron accepts the schedule, "
              "but never runs the job.");
    EXPECT_EQ(detail_of("0 0 30W 2 *"), "At character 5, no day of any year matches this date.");

    const char* rare[] = {
        "0 0 29 2 *",    "0 0 29W 2 *", "0 0 L-28 2 *", "0 0 29 2 */7", "0 0 30 2 1",
        "0 0 * 2 mon#5", "0 0 ? 2 0#5", "0 0 L-30 * *", "0 0 31W * *",  "0 0 30,31 2,3 *",
    };
    for (const char* text : rare) EXPECT_EQ(detail_of(text), "valid") << text;
}

TEST(ParseSchedule, ScheduleIsSmall) { EXPECT_LE(sizeof(Schedule), 64U); }

}  // namespace
}  // namespace securatlas::core::test
