// The environment of the scheduler in its tests: a database that remembers the runs' rows and
// refuses doubles, workers that take a set time, a clock that can be set, and a process that can
// die at any step.
#pragma once

#include <algorithm>
#include <compare>
#include <ctime>
#include <functional>
#include <iomanip>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "securatlas/core/cron/schedule.hpp"
#include "securatlas/core/cron/scheduler.hpp"

namespace securatlas::core::test {

class FixedZone : public Zone {
  public:
    explicit FixedZone(std::chrono::seconds offset = std::chrono::seconds(0)) : offset_(offset) {}
    ZoneSpan span_at(Instant) const override { return {offset_, kNever}; }

  private:
    std::chrono::seconds offset_;
};

// 2026-11-24 00:00:00 UTC, a Tuesday.
inline constexpr Instant kDay =
    std::chrono::sys_days{std::chrono::year{2026} / std::chrono::November / 24};

// Reads "2026-11-24 00:01:00+00"; intervals are not among the tests' schedules.
inline Result<Instant, std::string> read_timestamp(std::string_view text) {
    std::tm fields{};
    std::istringstream stream{std::string(text)};
    stream >> std::get_time(&fields, "%Y-%m-%d %H:%M:%S+00");
    if (stream.fail()) return Failure{std::string("not a timestamp")};
    const std::chrono::sys_days day =
        std::chrono::year{fields.tm_year + 1900} / (fields.tm_mon + 1) / fields.tm_mday;
    return Instant(day) + std::chrono::hours(fields.tm_hour) + std::chrono::minutes(fields.tm_min) +
           std::chrono::seconds(fields.tm_sec);
}

inline Job make_job(int id, const std::string& schedule, Instant planned_from = kDay) {
    const auto no_interval = [](std::string_view) -> core::Result<Interval, std::string> {
        return Failure{std::string("no intervals here")};
    };
    auto parsed = parse_schedule(schedule, {no_interval, read_timestamp});
    if (!parsed) throw std::invalid_argument(schedule);
    Job job;
    job.id = JobId{id};
    job.name = "job" + std::to_string(id);
    job.schedule = std::make_shared<const Schedule>(*parsed);
    job.zone = std::make_shared<const FixedZone>();
    job.planned_from = planned_from;
    return job;
}

struct Key {
    JobId job;
    Instant at;
    int attempt;
    auto operator<=>(const Key&) const = default;
};

enum class Status { starting, running, succeeded, failed, cancelled, skipped };

struct Row {
    RunId id{};
    Status status = Status::starting;
    RunTrigger trigger = RunTrigger::schedule;
    std::string reason;
    std::int64_t count = 1;
    std::optional<Instant> started;
    std::optional<Instant> ended;
    bool cancelled = false;
};

class Simulator {
  public:
    struct Result {
        RunOutcome outcome = RunOutcome::succeeded;
        bool retryable = true;
    };

    Instant now = kDay;
    std::map<JobId, Job> jobs;
    std::map<Key, Row> rows;
    std::optional<Instant> planned_until = kDay;
    std::function<Duration(const Key&)> takes = [](const Key&) { return std::chrono::seconds(1); };
    std::function<Result(const Key&)> gives = [](const Key&) { return Result{}; };
    double random = 0.5;
    std::vector<PauseJob> paused;
    std::vector<JobId> deleted;
    std::vector<Command> last;  // commands of the last step
    std::size_t steps = 0;
    bool transactional = true;

    void add(Job job) { jobs.insert_or_assign(job.id, std::move(job)); }

    // A new life of the scheduler: what is in the rows and has not ended was interrupted.
    void start(std::optional<Instant> server_start = {}) {
        scheduler_ = std::make_unique<Scheduler>([this] { return random; });
        std::vector<Event> events;
        for (const auto& [id, job] : jobs) events.push_back(JobLoaded{job});
        Started started{planned_until, server_start, {}, {}};
        for (auto& [key, row] : rows) {
            if (row.status != Status::starting && row.status != Status::running) continue;
            row.status = Status::failed;
            row.ended = now;
            started.interrupted.push_back(
                {{key.job, key.at, key.attempt, row.trigger}, transactional});
        }
        answers_.clear();
        events.push_back(std::move(started));
        step(std::move(events));
    }

    // The process dies, without or with having carried out what the last step said.
    void crash() { scheduler_.reset(); }

    void step(std::vector<Event> events = {}) { carry_out(think(std::move(events))); }

    std::vector<Command> think(std::vector<Event> events) {
        ++steps;
        events.insert(events.begin(), answers_.begin(), answers_.end());
        answers_.clear();
        for (auto& [key, row] : rows) {
            if (row.status != Status::running) continue;
            if (!row.cancelled && *row.started + takes(key) > now) continue;
            const Result result = row.cancelled ? Result{RunOutcome::cancelled} : gives(key);
            end(row, result.outcome);
            events.push_back(RunEnded{row.id, result.outcome, result.retryable});
        }
        return scheduler_->step(now, events);
    }

    void carry_out(std::vector<Command> commands) {
        last = std::move(commands);
        for (const Command& command : last) {
            std::visit([this](const auto& what) { apply(what); }, command);
        }
        planned_until = scheduler_->planned_until();
    }

    // Steps until nothing is left to be answered or to end, without moving the clock.
    void quiesce() {
        for (int i = 0; i < 10000; ++i) {
            if (i > 0 && answers_.empty() && !scheduler_->is_behind()) break;
            step();
        }
    }

    // Lives until `until`, waking when the scheduler wants to, or when a run ends.
    void run_until(Instant until) {
        quiesce();
        while (now < until) {
            Instant wake = std::min(until, scheduler_->next_wake());
            for (const auto& [key, row] : rows) {
                if (row.status == Status::running) wake = std::min(wake, *row.started + takes(key));
            }
            now = std::max(now + Duration(1), wake);
            quiesce();
        }
    }

    RunId ask(JobId job) {
        const RunId id{next_run_++};
        Row row;
        row.id = id;
        row.trigger = RunTrigger::manual;
        rows[{job, now, 1}] = row;
        step({ManualRun{id, job, now}});
        return id;
    }

    Scheduler& scheduler() { return *scheduler_; }

    const Row* row(int job, Instant at, int attempt = 1) const {
        const auto found = rows.find({JobId{job}, at, attempt});
        return found == rows.end() ? nullptr : &found->second;
    }

    std::size_t count(int job, Status status) const {
        return static_cast<std::size_t>(std::ranges::count_if(rows, [&](const auto& entry) {
            return entry.first.job == JobId{job} && entry.second.status == status;
        }));
    }

    bool all_over() const {
        return std::ranges::none_of(rows, [](const auto& entry) {
            return entry.second.status == Status::starting ||
                   entry.second.status == Status::running;
        });
    }

    template <class T>
    std::vector<T> said() const {
        std::vector<T> found;
        for (const Command& command : last) {
            if (const T* one = std::get_if<T>(&command)) found.push_back(*one);
        }
        return found;
    }

  private:
    void end(Row& row, RunOutcome outcome) {
        row.ended = now;
        switch (outcome) {
            case RunOutcome::succeeded:
                row.status = Status::succeeded;
                break;
            case RunOutcome::failed:
                row.status = Status::failed;
                break;
            case RunOutcome::cancelled:
                row.status = Status::cancelled;
                break;
        }
    }

    Row& by_id(RunId id) {
        for (auto& [key, row] : rows) {
            if (row.id == id) return row;
        }
        throw std::logic_error("a command for a run that nobody claimed");
    }

    void apply(const ClaimRun& claim) {
        const Occurrence& occurrence = claim.occurrence;
        Row row;
        row.id = RunId{next_run_};
        row.trigger = occurrence.trigger;
        row.reason = claim.reason;
        const bool made =
            rows.try_emplace({occurrence.job, occurrence.scheduled_at, occurrence.attempt}, row)
                .second;
        if (made) {
            answers_.push_back(RunClaimed{occurrence, RunId{next_run_++}});
        } else {
            answers_.push_back(RunRefused{occurrence});
        }
    }
    void apply(const RecordSkip& skip) {
        Row row;
        row.id = RunId{next_run_++};
        row.status = Status::skipped;
        row.trigger = skip.occurrence.trigger;
        row.reason = skip.reason;
        row.count = skip.count;
        rows.try_emplace(
            {skip.occurrence.job, skip.occurrence.scheduled_at, skip.occurrence.attempt}, row);
    }
    void apply(const StartRun& start) {
        Row& row = by_id(start.run);
        if (row.status != Status::starting) throw std::logic_error("started twice");
        row.status = Status::running;
        row.started = now;
        row.reason.clear();
    }
    void apply(const ExplainWait& wait) { by_id(wait.run).reason = wait.reason; }
    void apply(const SkipRun& skip) {
        Row& row = by_id(skip.run);
        if (row.status != Status::starting) throw std::logic_error("skipped after its start");
        row.status = Status::skipped;
        row.reason = skip.reason;
    }
    void apply(const CancelRun& cancel) {
        Row& row = by_id(cancel.run);
        if (row.status != Status::running) throw std::logic_error("cancelled but not running");
        row.cancelled = true;
        answers_.push_back(RunEnded{RunId{-1}, RunOutcome::cancelled, false});  // wakes quiesce()
    }
    void apply(const PauseJob& pause) {
        paused.push_back(pause);
        jobs.at(pause.job).active = false;
        answers_.push_back(JobLoaded{jobs.at(pause.job)});
    }
    void apply(const DeleteJob& gone) {
        deleted.push_back(gone.job);
        jobs.erase(gone.job);
        answers_.push_back(JobRemoved{gone.job});
    }

    std::unique_ptr<Scheduler> scheduler_;
    std::vector<Event> answers_;
    std::int64_t next_run_ = 1;
};

}  // namespace securatlas::core::test
