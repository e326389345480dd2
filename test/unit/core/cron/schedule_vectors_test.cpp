#include <gtest/gtest.h>

#include <fstream>

#include "schedule_texts.hpp"
#include "system_zone.hpp"

namespace securatlas::core::test {
namespace {

// Every row of schedule_vectors.tsv: schedule, zone, an instant, the next three occurrences.
TEST(ScheduleVectors, NextThreeOccurrences) {
    std::ifstream file(SECURATLAS_TEST_DATA "/core/cron/schedule_vectors.tsv");
    int rows = 0;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("#")) continue;
        SCOPED_TRACE(line);
        std::istringstream columns(line);
        std::string schedule_text, zone_name, after_text, expected;
        std::getline(columns, schedule_text, '\t');
        std::getline(columns, zone_name, '\t');
        std::getline(columns, after_text, '\t');
        std::getline(columns, expected);

        const Schedule schedule = read_schedule(schedule_text);
        std::string actual;
        Instant after = from_iso(after_text);
        for (int i = 0; i < 3; ++i) {
            const auto next = next_occurrence(schedule, system_zone(zone_name), kLongAgo, after);
            ASSERT_TRUE(next);
            actual += (i == 0 ? "" : " ") + iso(*next);
            after = *next;
        }
        EXPECT_EQ(actual, expected);
        ++rows;
    }
    EXPECT_EQ(rows, 48);
}

}  // namespace
}  // namespace securatlas::core::test
