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
    EXPECT_EQ(parsed.error().detail, "minute: 60 is out of range 0-59, at character 1");
    EXPECT_EQ(parsed.error().hint,
              "Use cron format (e.g. 5 4 * * *), or interval format '[1-59] seconds'");
}

TEST(ParseSchedule, DetailSaysWhatIsWrongAndWhere) {
    const std::pair<const char*, const char*> table[] = {
        {"", "minute: a value is missing, at character 1"},
        {"   ", "minute: a value is missing, at character 4"},
        {"*", "hour: a value is missing, at character 2"},
        {"* * * *", "day of week: a value is missing, at character 8"},
        {"* * * * * *",
         "schedule: unexpected text after the fifth field, at character 11; pg_cron ignores it"},
        {"* * * * * select 1",
         "schedule: unexpected text after the fifth field, at character 11; pg_cron ignores it"},
        {"0 24 * * *", "hour: 24 is out of range 0-23, at character 3"},
        {"0 0 0 * *", "day of month: 0 is out of range 1-31, at character 5"},
        {"0 0 32 * *", "day of month: 32 is out of range 1-31, at character 5"},
        {"0 0 * 13 *", "month: 13 is out of range 1-12, at character 7"},
        {"0 0 * * 8", "day of week: 8 is out of range 0-7, at character 9"},
        {"4294967296 * * * *", "minute: 4294967296 is out of range 0-59, at character 1"},
        {"18446744073709551616 * * * *",
         "minute: 18446744073709551616 is out of range 0-59, at character 1"},
        {"0-99999999999999999999999 * * * *",
         "minute: 99999999999999999999... is out of range 0-59, at character 3"},
        {"*/0 * * * *", "minute: 0 is out of range 1-59, at character 3"},
        {"*/60 * * * *", "minute: 60 is out of range 1-59, at character 3"},
        {"* */24 * * *", "hour: 24 is out of range 1-23, at character 5"},
        {"* * * * */8", "day of week: 8 is out of range 1-7, at character 11"},
        {"1,,2 * * * *", "minute: unexpected \",\", at character 3"},
        {"1, * * * *", "minute: a value is missing, at character 3"},
        {"-5 * * * *", "minute: unexpected \"-\", at character 1"},
        {"+5 * * * *", "minute: unexpected \"+\", at character 1"},
        {"1- * * * *", "minute: a value is missing, at character 3"},
        {"1-2-3 * * * *",
         "minute: unexpected \"-\", at character 4; pg_cron skips the rest of the field"},
        {"*/ * * * *", "minute: a value is missing, at character 3"},
        {"*/2/2 * * * *",
         "minute: unexpected \"/\", at character 4; pg_cron skips the rest of the field"},
        {"*-5 * * * *",
         "minute: unexpected \"-\", at character 2; pg_cron skips the rest of the field"},
        {"0 0 * foo *", "month: unknown name \"foo\", at character 7"},
        {"0 0 * january *", "month: unexpected \"u\", at character 10"},
        {"0 0 * mon *", "month: unknown name \"mon\", at character 7"},
        {"0 0 * * jan", "day of week: unknown name \"jan\", at character 9"},
        {"0 0 mon * *", "day of month: unexpected \"m\", at character 5"},
        {"L * * * *", "minute: unexpected \"L\", at character 1"},
        {"0 0 * * L", "day of week: unknown name \"L\", at character 9"},
        {"0 0 L-0 * *", "day of month: 0 is out of range 1-30, at character 7"},
        {"0 0 L-31 * *", "day of month: 31 is out of range 1-30, at character 7"},
        {"0 0 LW-1 * *", "day of month: unexpected \"-\", at character 7"},
        {"0 0 L/2 * *", "day of month: unexpected \"/\", at character 6"},
        {"0 0 $W * *", "day of month: unexpected \"W\", at character 6"},
        {"0 0 5L * *", "day of month: unexpected \"L\", at character 6"},
        {"0 0 1-5W * *", "day of month: unexpected \"W\", at character 8"},
        {"0 0 32W * *", "day of month: 32 is out of range 1-31, at character 5"},
        {"0 0 5#2 * *",
         "day of month: unexpected \"#\", at character 6; pg_cron skips the rest of the field"},
        {"0 0 * * 5#0", "day of week: 0 is out of range 1-5, at character 11"},
        {"0 0 * * 5#6", "day of week: 6 is out of range 1-5, at character 11"},
        {"0 0 * * 5#", "day of week: a value is missing, at character 11"},
        {"0 0 * * 1-5L", "day of week: unexpected \"L\", at character 12"},
        {"0 0 * * 5W", "day of week: unexpected \"W\", at character 10"},
        {"0 seconds", "seconds: 0 is out of range 1-59, at character 1"},
        {"60 seconds", "seconds: 60 is out of range 1-59, at character 1"},
        {"4294967297 seconds", "seconds: 4294967297 is out of range 1-59, at character 1"},
        {"30 seconds ago", "schedule: unexpected text after the interval, at character 12"},
        {"-1 seconds", "minute: unexpected \"-\", at character 1"},
        {"5 minutes", "hour: unexpected \"m\", at character 3"},
        {"@", "schedule: unknown macro \"@\", at character 1"},
        {"@fortnightly", "schedule: unknown macro \"@fortnightly\", at character 1"},
        {"@daily @daily",
         "schedule: unexpected text after the macro, at character 8; pg_cron ignores it"},
        {"@every", "@every: a value is missing, at character 7"},
        {"@every 3 parsecs", "@every: no unit \"parsecs\", at character 8"},
        {"@every 0 days", "@every: the interval is shorter than one second, at character 8"},
        {"@every 999 milliseconds",
         "@every: the interval is shorter than one second, at character 8"},
        {"@every 1 month -1 day", "@every: the interval has a negative part, at character 8"},
        {"@every 1 day -1 seconds", "@every: the interval has a negative part, at character 8"},
        {"@every -1 month 60 days", "@every: the interval has a negative part, at character 8"},
        {"@at", "@at: a value is missing, at character 4"},
        {"@at noon", "@at: not an instant: noon, at character 5"},
        {"@at infinity", "@at: the time is not in the years 1 to 9999, at character 5"},
        {"CRON_TZ=", "time zone: a value is missing, at character 9"},
        {"TZ= * * * * *", "time zone: a value is missing, at character 4"},
        {"CRON_TZ=UTC", "minute: a value is missing, at character 12"},
        {"CRON_TZ=UTC 60 * * * *", "minute: 60 is out of range 0-59, at character 13"},
        {"cron_tz=UTC * * * * *", "minute: unexpected \"c\", at character 1"},
        {"*10 * * * *",
         "minute: unexpected \"1\", at character 2; pg_cron skips the rest of the field"},
        {"* * * * *x",
         "day of week: unexpected \"x\", at character 10; pg_cron skips the rest of the field"},
        {"1,2;3 * * * *",
         "minute: unexpected \";\", at character 4; pg_cron skips the rest of the field"},
        {"1.5 seconds", "minute: unexpected \".\", at character 2"},
        {"*10 99 * * *", "minute: unexpected \"1\", at character 2"},
        {"*10 0 L * *", "minute: unexpected \"1\", at character 2"},
        {"0 0 L * * *", "schedule: unexpected text after the fifth field, at character 11"},
        {"*10 0 $ * * *",
         "minute: unexpected \"1\", at character 2; pg_cron skips the rest of the field"},
        {"5/10/2 * * * *", "minute: unexpected \"/\", at character 5"},
        {"?x * * * *", "minute: unexpected \"x\", at character 2"},
        {"* *\n* * *",
         "schedule: more than one line, at character 5; pg_cron reads the first line"},
        {"0 1 * * *\n0 2 * * *\n",
         "schedule: more than one line, at character 11; pg_cron reads the first line"},
        {"* * * *\r *", "schedule: byte 0x0D is not allowed, at character 8"},
        {"# * * * * *", "minute: a value is missing, at character 12"},
        {"* * * * #2", "day of week: a value is missing, at character 8"},
        {"* * *\v* *", "schedule: byte 0x0B is not allowed, at character 6"},
        {"* * * * \xC3\xA9", "schedule: byte 0xC3 is not allowed, at character 9"},
        {"* * * * *\x7F", "schedule: byte 0x7F is not allowed, at character 10"},
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
    EXPECT_EQ(parsed.error().detail, "schedule: byte 0x00 is not allowed, at character 10");
    EXPECT_EQ(parsed.error().message, "invalid schedule: * * * * *\\x00");
}

TEST(ParseSchedule, LengthIsBounded) {
    std::string text = "0";
    while (text.size() + 10 <= 999) text += ",0";
    text += " * * * *";
    ASSERT_EQ(text.size(), 999U);
    EXPECT_EQ(detail_of(text), "valid");
    EXPECT_EQ(detail_of(text + " "), "schedule: longer than 999 bytes, at character 1000");
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
    EXPECT_EQ(
        detail_of("0 0 30 2 *"),
        "day of month: no day of any year matches, at character 5; pg_cron takes it, and never "
        "runs it");
    EXPECT_EQ(detail_of("0 0 30W 2 *"), "day of month: no day of any year matches, at character 5");

    const char* rare[] = {
        "0 0 29 2 *",    "0 0 29W 2 *", "0 0 L-28 2 *", "0 0 29 2 */7", "0 0 30 2 1",
        "0 0 * 2 mon#5", "0 0 ? 2 0#5", "0 0 L-30 * *", "0 0 31W * *",  "0 0 30,31 2,3 *",
    };
    for (const char* text : rare) EXPECT_EQ(detail_of(text), "valid") << text;
}

TEST(ParseSchedule, ScheduleIsSmall) { EXPECT_LE(sizeof(Schedule), 64U); }

}  // namespace
}  // namespace securatlas::core::test
