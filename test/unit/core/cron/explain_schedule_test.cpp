#include <gtest/gtest.h>

#include "schedule_texts.hpp"

namespace securatlas::core::test {
namespace {

TEST(ExplainSchedule, Sentences) {
    const std::pair<const char*, const char*> table[] = {
        {"* * * * *", "every minute, in UTC"},
        {"*/5 * * * *", "every 5 minutes, in UTC"},
        {"0,30 * * * *", "every 30 minutes, in UTC"},
        {"0 * * * *", "at minute 0 of every hour, in UTC"},
        {"5,10-13 * * * *", "at minutes 5 and 10 to 13 of every hour, in UTC"},
        {"*/25 * * * *", "at minutes 0, 25 and 50 of every hour, in UTC"},
        {"5/20 * * * 1", "at minutes 5, 25 and 45 of every hour on Monday, in UTC"},
        {"0 2 * * *", "at 02:00 every day, in UTC"},
        {"0 */6 * * *", "at 00:00, 06:00, 12:00 and 18:00 every day, in UTC"},
        {"0 9-17 * * mon-fri", "at minute 0 of hours 9 to 17 on Monday to Friday, in UTC"},
        {"*/15 2 * * *", "at 02:00, 02:15, 02:30 and 02:45 every day, in UTC"},
        {"*/10 2 * * *", "every 10 minutes of hour 2 every day, in UTC"},
        {"* 8,9 * * *", "every minute of hours 8 and 9 every day, in UTC"},
        {"0 0 1 * *", "at 00:00 on day 1 of the month, in UTC"},
        {"0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month, in UTC"},
        {"0 0 1 1 *", "at 00:00 on day 1 of January, in UTC"},
        {"0 0 * nov-feb *",
         "at 00:00 every day in January, February, November and December, in UTC"},
        {"0 0 L * *", "at 00:00 on the last day of the month, in UTC"},
        {"0 0 L-1,L-2 * *",
         "at 00:00 on the day before the last and the day 2 days before the last of the month, in "
         "UTC"},
        {"0 9 1,15W,LW * *",
         "at 09:00 on day 1, the weekday nearest to day 15 and the last weekday of the month, in "
         "UTC"},
        {"0 0 * * fri-mon", "at 00:00 on Monday and Friday to Sunday, in UTC"},
        {"0 9 * * 5#2", "at 09:00 on the second Friday of the month, in UTC"},
        {"0 9 * 3 1,5L", "at 09:00 on Monday in March and the last Friday of March, in UTC"},
        {"0 0 1 * 1", "at 00:00 on day 1 of the month or on Monday, in UTC"},
        {"0 0 */15 * 1",
         "at 00:00 on days 1, 16 and 31 of the month, only if also on Monday, in UTC"},
        {"0 0 1-31 * 1", "at 00:00 every day, in UTC"},
        {"30 seconds", "every 30 seconds"},
        {"1 second", "every 1 second"},
        {"@every 90 seconds", "every 1 minute and 30 seconds, counted from when the job was made"},
        {"@every 14 months 1 day 1500 milliseconds",
         "every 1 year, 2 months, 1 day and 1.500000 seconds, counted from when the job was made, "
         "in UTC"},
        {"@at 2026-11-23T02:00:00Z", "once, at 2026-11-23 02:00:00 UTC"},
        {"@reboot", "once after each start of the server"},
    };
    for (const auto& [text, sentence] : table) {
        EXPECT_EQ(explain_schedule(read_schedule(text), "UTC"), sentence) << text;
    }
}

TEST(ExplainSchedule, NamesTheZoneItIsGiven) {
    EXPECT_EQ(explain_schedule(read_schedule("CRON_TZ=Asia/Tokyo 0 2 * * *"), "Asia/Tokyo"),
              "at 02:00 every day, in Asia/Tokyo");
}

}  // namespace
}  // namespace securatlas::core::test
