// Measures the core: the next occurrence of typical schedules, and the scheduler's state machine
// with 100,000 jobs. Prints one line for each figure.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "securatlas/core/cron/schedule.hpp"
#include "securatlas/core/cron/scheduler.hpp"

namespace {

namespace core = securatlas::core;

class Utc final : public core::Zone {
  public:
    core::ZoneSpan span_at(core::Instant) const override {
        return {std::chrono::seconds(0), core::kNever};
    }
};

core::Schedule schedule_of(const char* text) {
    const core::LiteralParsers none{
        [](std::string_view) { return core::Failure{std::string("no intervals here")}; },
        [](std::string_view) { return core::Failure{std::string("no timestamps here")}; }};
    return core::parse_schedule(text, none).value();
}

double seconds_of(const auto& body) {
    const auto began = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

void measure_next_occurrence(const char* text, core::Instant from) {
    constexpr int kCalls = 100'000;
    const core::Schedule schedule = schedule_of(text);
    const Utc zone;
    core::Instant at = from;
    const double seconds = seconds_of([&] {
        for (int i = 0; i < kCalls; ++i) {
            at = core::next_occurrence(schedule, zone, from, at).value_or(from);
        }
    });
    std::printf("next occurrence of %-14s %8.0f ns\n", text, seconds / kCalls * 1e9);
}

void measure_scheduler(core::Instant now) {
    constexpr int kJobs = 100'000;
    const auto schedule = std::make_shared<const core::Schedule>(schedule_of("0 2 * * *"));
    const auto zone = std::make_shared<const Utc>();
    std::vector<core::Event> events;
    for (int i = 1; i <= kJobs; ++i) {
        core::Job job;
        job.id = core::JobId{i};
        job.name = "job" + std::to_string(i);
        job.schedule = schedule;
        job.zone = zone;
        job.planned_from = now;
        events.emplace_back(core::JobLoaded{std::move(job)});
    }
    core::Started started;
    started.planned_until = now;
    events.emplace_back(std::move(started));
    core::Scheduler scheduler([] { return 0.5; });
    std::size_t commands = 0;
    const double load = seconds_of([&] { commands += scheduler.step(now, events).size(); });
    const double due =
        seconds_of([&] { commands += scheduler.step(scheduler.next_wake(), {}).size(); });
    std::printf("load of 100,000 jobs          %8.0f ms\n", load * 1e3);
    std::printf("step with 100,000 due jobs    %8.0f ms, %zu commands\n", due * 1e3, commands);
}

}  // namespace

int main() {
    const core::Instant now{std::chrono::sys_days{std::chrono::year{2026} / 11 / 24}};
    for (const char* text :
         {"30 seconds", "*/5 * * * *", "0 2 * * *", "0 0 29 2 *", "0 9 * * 5#2"}) {
        measure_next_occurrence(text, now);
    }
    measure_scheduler(now);
}
