// A year of occurrences in zones that change their clocks, against a walk over all of its minutes.
#include <gtest/gtest.h>

#include <set>
#include <unordered_map>

#include "schedule_texts.hpp"
#include "system_zone.hpp"

namespace securatlas::core::test {
namespace {

using std::chrono::days;
using std::chrono::minutes;
using Minute = std::chrono::sys_time<minutes>;
using LocalMinute = std::chrono::local_time<minutes>;

struct Rule {
    const char* text;
    bool all_hours;
    bool (*matches)(int minute, int hour, int day, int month, int weekday);
};

const Rule kRules[] = {
    {"*/7 * * * *", true, [](int m, int, int, int, int) { return m % 7 == 0; }},
    {"0 * * * *", true, [](int m, int, int, int, int) { return m == 0; }},
    {"45 * 1,30 * 0", true,
     [](int m, int, int d, int, int w) { return m == 45 && (d == 1 || d == 30 || w == 0); }},
    {"0 0 * * *", false, [](int m, int h, int, int, int) { return m == 0 && h == 0; }},
    {"30 0 * * *", false, [](int m, int h, int, int, int) { return m == 30 && h == 0; }},
    {"*/20 1-3 * * *", false,
     [](int m, int h, int, int, int) { return m % 20 == 0 && h >= 1 && h <= 3; }},
    {"15 2 * * *", false, [](int m, int h, int, int, int) { return m == 15 && h == 2; }},
    {"10 */2 * * *", false, [](int m, int h, int, int, int) { return m == 10 && h % 2 == 0; }},
    {"59 23 * 3,10 sun", false,
     [](int m, int h, int, int mo, int w) {
         return m == 59 && h == 23 && (mo == 3 || mo == 10) && w == 0;
     }},
    {"* 0-22 29-31 * *", false, [](int, int h, int d, int, int) { return h <= 22 && d >= 29; }},
};

// The zone's clock, minute by minute, over a year and some days around it.
struct Clock {
    std::vector<std::pair<Minute, LocalMinute>> shown;     // in order of the instants
    std::unordered_map<std::int64_t, Minute> first_shown;  // by local minute
};

Clock read_clock(const std::string& zone_name, Minute begin, Minute end) {
    const ProcessZone zone(zone_name);
    Clock clock;
    for (Minute instant = begin - days(4); instant < end + days(4); instant += minutes(1)) {
        const auto offset = std::chrono::duration_cast<minutes>(zone.offset_at(instant));
        const LocalMinute local(instant.time_since_epoch() + offset);
        clock.shown.emplace_back(instant, local);
        clock.first_shown.try_emplace(local.time_since_epoch().count(), instant);
    }
    return clock;
}

bool matches(const Rule& rule, LocalMinute local) {
    const auto midnight = std::chrono::floor<days>(local);
    const std::chrono::year_month_day date(midnight);
    const auto time = (local - midnight).count();
    return rule.matches(static_cast<int>(time % 60), static_cast<int>(time / 60),
                        static_cast<int>(static_cast<unsigned>(date.day())),
                        static_cast<int>(static_cast<unsigned>(date.month())),
                        static_cast<int>(std::chrono::weekday(midnight).c_encoding()));
}

std::set<Minute> expected(const Rule& rule, const Clock& clock) {
    std::set<Minute> instants;
    if (rule.all_hours) {
        for (const auto& [instant, local] : clock.shown) {
            if (matches(rule, local)) instants.insert(instant);
        }
        return instants;
    }
    const LocalMinute begin = clock.shown.front().second, end = clock.shown.back().second;
    for (LocalMinute local = begin; local < end; local += minutes(1)) {
        if (!matches(rule, local)) continue;
        LocalMinute reached = local;
        while (!clock.first_shown.contains(reached.time_since_epoch().count())) {
            reached += minutes(1);
        }
        instants.insert(clock.first_shown.at(reached.time_since_epoch().count()));
    }
    return instants;
}

void compare_year(const std::string& zone_name, int year) {
    const Minute begin = std::chrono::sys_days(std::chrono::year(year) / 1 / 1);
    const Minute end = std::chrono::sys_days(std::chrono::year(year + 1) / 1 / 1);
    const Clock clock = read_clock(zone_name, begin, end);
    for (const Rule& rule : kRules) {
        SCOPED_TRACE(zone_name + " " + rule.text);
        const auto all = expected(rule, clock);
        const Schedule schedule = read_schedule(rule.text);
        Instant after = Instant(begin) - Duration(1);
        for (auto it = all.lower_bound(begin); it != all.end() && *it < end; ++it) {
            const auto next = next_occurrence(schedule, system_zone(zone_name), kLongAgo, after);
            ASSERT_TRUE(next == Instant(*it)) << iso(next) << ", not " << iso(Instant(*it));
            // From every instant between two occurrences the next one is the same.
            const Instant middle = after + (*next - after) / 2;
            ASSERT_EQ(next_occurrence(schedule, system_zone(zone_name), kLongAgo, middle), next);
            after = *next;
        }
    }
}

struct ZoneYear {
    const char* zone;
    int year;
};

class NextRunDst : public testing::TestWithParam<ZoneYear> {};

TEST_P(NextRunDst, YearAgreesWithTheClock) { compare_year(GetParam().zone, GetParam().year); }

INSTANTIATE_TEST_SUITE_P(
    Zones, NextRunDst,
    testing::Values(ZoneYear{"America/New_York", 2026}, ZoneYear{"Europe/Berlin", 2026},
                    ZoneYear{"Australia/Lord_Howe", 2026}, ZoneYear{"America/Havana", 2026},
                    ZoneYear{"Asia/Beirut", 2026}, ZoneYear{"Africa/Cairo", 2026},
                    ZoneYear{"Africa/Casablanca", 2026}, ZoneYear{"Pacific/Chatham", 2026},
                    ZoneYear{"Antarctica/Troll", 2026}, ZoneYear{"America/Santiago", 2026},
                    ZoneYear{"America/Sao_Paulo", 2018}, ZoneYear{"Pacific/Apia", 2011},
                    ZoneYear{"Pacific/Kwajalein", 1993}, ZoneYear{"Asia/Kathmandu", 1986}),
    [](const auto& test) {
        std::string name = test.param.zone;
        std::ranges::replace(name, '/', '_');
        return name;
    });

}  // namespace
}  // namespace securatlas::core::test
