// Measures the core: the next occurrence of typical schedules, and the scheduler's state machine
// and queues with 1,000 to 1,000,000 jobs that are due at the same instant.
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "securatlas/core/cron/ready_queues.hpp"
#include "securatlas/core/cron/schedule.hpp"
#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/core/cron/turns.hpp"

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

// Of processor time, so that other processes count little.
double seconds_of(const auto& body) {
    const std::clock_t began = std::clock();
    body();
    return static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
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

// One job's share of what `jobs` jobs take that are due at the same instant, in two roles and with
// all priorities, from the step that finds them due until the last one is handed out.
void measure_scheduler(core::Instant now, int jobs) {
    const auto schedule = std::make_shared<const core::Schedule>(schedule_of("0 2 * * *"));
    const auto zone = std::make_shared<const Utc>();
    std::vector<core::Event> events;
    for (int i = 1; i <= jobs; ++i) {
        core::Job job;
        job.id = core::JobId{i};
        job.owner = core::OwnerId{static_cast<std::uint32_t>(i % 2)};
        job.name = "job" + std::to_string(i);
        job.schedule = schedule;
        job.zone = zone;
        job.planned_from = now;
        job.priority = i % 201 - 100;
        events.emplace_back(core::JobLoaded{std::move(job)});
    }
    core::Started started;
    started.planned_until = now;
    events.emplace_back(std::move(started));
    core::Scheduler scheduler([] { return 0.5; });
    const double load = seconds_of([&] {
        (void)scheduler.step(now, events);
        while (scheduler.is_behind()) (void)scheduler.step(now, {});
    });

    const core::Instant at = scheduler.next_wake();
    std::vector<core::Command> commands;
    const double due = seconds_of([&] { commands = scheduler.step(at, {}); });
    using Claims = core::Turns<core::OwnerId, core::Instant, core::ClaimRun>;
    Claims claims;
    std::vector<core::Event> claimed;
    const double turns = seconds_of([&] {
        for (core::Command& command : commands) {
            auto& claim = std::get<core::ClaimRun>(command);
            claims.push(claim.owner, claim.rank, std::move(claim));
        }
        while (!claims.empty()) {
            const auto portion = Claims::Walk(claims).next(200);
            for (const core::ClaimRun& claim : portion) {
                const core::RunId run{static_cast<std::int64_t>(claimed.size()) + 1};
                claimed.emplace_back(core::RunClaimed{claim.occurrence, run});
            }
            claims.remove_first(portion.size());
        }
    });
    const double answers = seconds_of([&] { commands = scheduler.step(at, claimed); });
    using Ready = core::ReadyQueues<std::uint32_t, core::RunId>;
    Ready ready;
    const double handed = seconds_of([&] {
        for (const core::Command& command : commands) {
            const auto& start = std::get<core::StartRun>(command);
            ready.insert(static_cast<std::uint32_t>(start.run) % 2,
                         {start.rank, start.scheduled_at, start.run});
        }
        while (const core::RunId* first = ready.first({})) {
            const std::uint32_t target = static_cast<std::uint32_t>(*first) % 2;
            ready.erase(target, *ready.queues().at(target).begin());
        }
    });
    const auto ns = [jobs](double seconds) { return seconds / jobs * 1e9; };
    std::printf("%9d %8.0f %8.0f %8.0f %8.0f %8.0f\n", jobs, ns(load), ns(due), ns(turns),
                ns(answers), ns(handed));
}

}  // namespace

int main() {
    const core::Instant now{std::chrono::sys_days{std::chrono::year{2026} / 11 / 24}};
    for (const char* text :
         {"30 seconds", "*/5 * * * *", "0 2 * * *", "0 0 29 2 *", "0 9 * * 5#2"}) {
        measure_next_occurrence(text, now);
    }
    std::printf("ns a job with  loading      due   claims  answers  handed out\n");
    for (const int jobs : {1'000, 10'000, 100'000, 1'000'000}) measure_scheduler(now, jobs);
}
