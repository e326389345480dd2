// Any text is refused with a bounded, printable error, or is a schedule whose occurrences ascend
// and do not depend on where between two of them the question is asked.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "securatlas/core/cron/schedule.hpp"

using namespace std::chrono_literals;
namespace core = securatlas::core;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

// Changes its offset every 100 days, among small, large, odd and day-long changes.
class RestlessZone : public core::Zone {
  public:
    core::ZoneSpan span_at(core::Instant instant) const override {
        constexpr std::chrono::seconds kOffsets[] = {0s,      3600s,  -1800s, 34200s,
                                                     -36000s, 50400s, 561s,   7200s};
        constexpr core::Duration kSpan = std::chrono::days(100);
        constexpr core::Instant kStart = std::chrono::sys_days{std::chrono::year(1800) / 1 / 1};
        const auto index = (instant - kStart) / kSpan;
        const core::Instant end = kStart + (index + 1) * kSpan;
        return {kOffsets[static_cast<std::size_t>(index) % std::size(kOffsets)], end};
    }
};

template <class Number>
Number take_number(std::string_view& text) {
    Number number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    while (text.starts_with(' ')) text.remove_prefix(1);
    return number;
}

// Months, days and milliseconds.
core::Result<core::Interval, std::string> read_interval(std::string_view text) {
    const auto months = take_number<std::int32_t>(text);
    const auto days = take_number<std::int32_t>(text);
    const auto milliseconds = take_number<std::int32_t>(text);
    if (!text.empty()) return core::Failure{std::string("not an interval")};
    return core::Interval{months, days, std::chrono::milliseconds(milliseconds)};
}

// Microseconds. Reasons may come in any language.
core::Result<core::Instant, std::string> read_timestamp(std::string_view text) {
    const auto microseconds = take_number<std::int64_t>(text);
    if (!text.empty()) return core::Failure{std::string("kein Zeitpunkt f\xC3\xBCr mich")};
    return core::Instant(core::Duration(microseconds));
}

void check_error(const core::ScheduleError& error) {
    for (const std::string* part : {&error.message, &error.detail, &error.hint}) {
        require(!part->empty() && part->size() < 1000);
        require(std::ranges::all_of(*part, [](char c) { return c >= ' ' && c <= '~'; }));
    }
}

void check_occurrences(const core::Schedule& schedule, core::Instant anchor, core::Instant after) {
    const RestlessZone zone;
    for (int i = 0; i < 3; ++i) {
        const auto next = core::next_occurrence(schedule, zone, anchor, after);
        if (!next) return;
        require(*next > after);
        require(core::next_occurrence(schedule, zone, anchor, *next - core::Duration(1)) == next);
        after = *next;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::int64_t start[2] = {};
    if (size < sizeof start) return 0;
    std::memcpy(start, data, sizeof start);
    const std::string_view text(reinterpret_cast<const char*>(data) + sizeof start,
                                size - sizeof start);
    const auto schedule = core::parse_schedule(text, {read_interval, read_timestamp});
    if (!schedule) {
        check_error(schedule.error());
        return 0;
    }
    require(core::explain_schedule(*schedule, "UTC").size() > 8);
    // Anywhere, and in the years that matter.
    check_occurrences(*schedule, core::Instant(core::Duration(start[0])),
                      core::Instant(core::Duration(start[1])));
    const core::Duration century = std::chrono::days(36525);
    check_occurrences(*schedule, core::Instant(core::Duration(start[0]) % century),
                      core::Instant(core::Duration(start[1]) % (5 * century)));
    return 0;
}
