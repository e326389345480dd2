// The scheduler's entry points, and what each event does.
#include "securatlas/core/cron/scheduler.hpp"

#include <algorithm>

#include "cron/scheduler_state.hpp"
#include "securatlas/core/cron/run_reasons.hpp"

namespace securatlas::core {

namespace {

// Longer durations are cut to this one, so that adding them to an instant cannot overflow.
constexpr Duration kLongestDuration = std::chrono::days(366 * 100);

Duration limited(Duration duration) { return std::clamp(duration, Duration(0), kLongestDuration); }

JobRules limited(JobRules rules) {
    rules.catchup_window = limited(rules.catchup_window);
    rules.jitter = limited(rules.jitter);
    rules.retry_period = limited(rules.retry_period);
    return rules;
}

std::string in_single_quotes(const std::string& text) {
    std::string result = "'";
    for (const char c : text) result.append(c == '\'' ? 2 : 1, c);
    return result + "'";
}

ActiveRun* find_claim(JobState& job, const Occurrence& occurrence) {
    const auto run = std::ranges::find_if(job.runs, [&](const ActiveRun& candidate) {
        return candidate.state == RunState::claiming &&
               candidate.occurrence.scheduled_at == occurrence.scheduled_at &&
               candidate.occurrence.attempt == occurrence.attempt;
    });
    return run == job.runs.end() ? nullptr : &*run;
}

}  // namespace

Scheduler::Scheduler(Random random) : state_(std::make_unique<State>(std::move(random))) {}
Scheduler::~Scheduler() = default;

std::vector<Command> Scheduler::step(Instant now, std::span<const Event> events) {
    State& state = *state_;
    state.now = now;
    if (state.to_begin.empty() && state.to_judge.empty()) state.countable = kMaxCountedAtOnce;
    state.looked_at = 0;
    // What is late because other things were due before it was not missed.
    if (!state.behind || now > state.last_step + kMissedAfter) state.seen_at = now;
    if (state.last_step != kLongAgo && now < state.last_step - kClockTolerance) {
        state.clock_set_back();
    }
    for (const Event& event : events) {
        std::visit([&state](const auto& happened) { state.handle(happened); }, event);
    }
    state.behind = !state.begin_jobs() || !state.judge_late();
    if (!state.behind) {
        state.collect_due();
        state.decide_due();
    }
    state.settle();
    state.last_step = now;
    return std::exchange(state.commands, {});
}

Instant Scheduler::planned_until() const { return state_->planned_until; }

bool Scheduler::is_behind() const { return state_->behind; }

// While too many claims are unanswered, their answers are what it waits for.
Instant Scheduler::next_wake() const {
    if (!state_->to_begin.empty() || !state_->to_judge.empty()) return state_->last_step;
    const bool waits = state_->behind && state_->claiming >= kMaxClaiming;
    return waits ? kNever : state_->timers.first_at();
}

std::size_t Scheduler::job_count() const { return state_->present; }

bool Scheduler::has_job(JobId job) const {
    const auto found = state_->jobs.find(job);
    return found != state_->jobs.end() && !found->second.gone;
}

std::vector<JobId> Scheduler::job_ids() const { return state_->job_ids(); }

std::vector<JobId> Scheduler::State::job_ids() const {
    std::vector<JobId> ids;
    ids.reserve(present);
    for (const auto& [id, job] : jobs) {
        if (!job.gone) ids.push_back(id);
    }
    return ids;
}

std::optional<Instant> Scheduler::next_run(JobId job) const {
    const JobState* found = std::as_const(*state_).find(job);
    if (found == nullptr || found->next == kNever) return std::nullopt;
    return found->next;
}

void Scheduler::State::forget_dependencies(const JobState& job) {
    if (job.rules == nullptr) return;
    for (const Dependency& old : job.rules->after) dependents.erase({old.after, job.job.id});
}

void Scheduler::State::handle(const JobLoaded& event) {
    const auto [place, fresh] = jobs.try_emplace(event.job.id);
    JobState& job = place->second;
    const bool was_active = job.job.active && !job.gone && !fresh;
    const bool known = !fresh && !job.gone;
    const int failures = job.job.consecutive_failures;

    forget_dependencies(job);
    job.job = {.id = event.job.id,
               .name = event.job.name,
               .planned_from = event.job.planned_from,
               .owner = event.job.owner,
               .consecutive_failures = event.job.consecutive_failures,
               .active = event.job.active};
    job.rules = pool.share(limited(event.job));
    for (const Dependency& added : job.rules->after) {
        dependents.insert({added.after, event.job.id});
    }
    // The job was created while the clock was wrong and ahead. Do not wait until that instant.
    if (job.job.planned_from > now + kMissedAfter) job.job.planned_from = now;

    if (!known) {
        ++present;
        job.gone = false;
        job.last_due = job.last_finished = event.job.last_occurrence;
        job.last_failed = event.job.last_failed;
        job.begun = started && !former.contains(event.job.id);
        if (started && !job.begun) to_begin.push_back(event.job.id);
    } else {
        // A job that is resumed starts counting failures from zero.
        job.job.consecutive_failures = was_active ? failures : 0;
    }
    if (!job.job.active) {
        skip_waiting(job, reasons::kPaused, false);
        repeats.erase(event.job.id);
    }
    if (job.begun) plan(job, first_unplanned(job));
    mark(job);
}

void Scheduler::State::handle(const JobUnreadable& event) {
    const JobState* job = find(event.job);
    if (job != nullptr && !job->gone) return;
    const auto since = started ? std::optional(planned_until) : std::nullopt;
    former.try_emplace(event.job, Former{since, std::nullopt, reasons::kUnreadable});
}

void Scheduler::State::handle(const JobRemoved& event) {
    former.erase(event.job);
    JobState* job = find(event.job);
    if (job == nullptr || job->gone) return;
    forget_dependencies(*job);
    JobRules alone = *job->rules;
    alone.after.clear();
    job->rules = pool.share(alone);
    skip_waiting(*job, reasons::kUnscheduled, true);
    --present;
    job->gone = true;
    job->next = kNever;
    repeats.erase(event.job);
    std::erase_if(due, [job](const Due& one) { return one.job == job; });
    mark(*job);
    mark_dependents(event.job);
}

void Scheduler::State::handle(const Started& event) {
    if (started) return;
    started = true;
    planned_until = std::min(event.planned_until.value_or(now), now);
    at_start = {event.planned_until, event.server_start, reasons::kSchedulerAway};
    for (auto& [id, unreadable] : former) unreadable = at_start;
    const auto former_of = [this](const Occurrence& occurrence) -> Former& {
        return former.try_emplace(occurrence.job, at_start).first->second;
    };
    for (const AdoptedRun& run : event.adopted) {
        if (JobState* job = find(run.occurrence.job)) {
            adopt(*job, run);
        } else {
            former_of(run.occurrence).adopted.push_back(run);
        }
    }
    for (const InterruptedRun& run : event.interrupted) {
        former_of(run.occurrence).interrupted.push_back(run);
    }
    for (const FailedRun& run : event.failed) former_of(run.occurrence).failed.push_back(run);
    to_begin = job_ids();
    std::ranges::sort(to_begin, std::ranges::greater());
}

void Scheduler::State::handle(const ManualRun& event) {
    if (owners.contains(event.run)) return;
    JobState* job = find(event.job);
    if (job == nullptr || job->gone) {
        commands.push_back(SkipRun{event.run, reasons::kUnscheduled});
        return;
    }
    ActiveRun& run = add_run(*job, {.job = event.job,
                                    .scheduled_at = event.scheduled_at,
                                    .attempt = 1,
                                    .trigger = RunTrigger::manual});
    run.id = event.run;
    run.manual = true;
    run.since = event.scheduled_at;
    move(*job, run, RunState::waiting);
    mark(*job);
}

void Scheduler::State::handle(const RunClaimed& event) {
    if (owners.contains(event.run)) return;
    JobState* job = find(event.occurrence.job);
    if (job == nullptr) {
        commands.push_back(SkipRun{event.run, reasons::kUnscheduled});
        return;
    }
    ActiveRun* run = find_claim(*job, event.occurrence);
    if (run == nullptr) return;
    run->id = event.run;
    move(*job, *run, RunState::waiting);
    if (run->doom != nullptr) {
        move(*job, *run, RunState::skipped, run->doom);
    } else if (run->replaces) {
        replace_others(*job, *run);
    }
    mark(*job);
}

void Scheduler::State::handle(const RunRefused& event) {
    JobState* job = find(event.occurrence.job);
    ActiveRun* run = job == nullptr ? nullptr : find_claim(*job, event.occurrence);
    if (run != nullptr) move(*job, *run, RunState::ended);
}

void Scheduler::State::handle(const RunEnded& event) {
    const auto [job, run] = find_run(event.run);
    if (run == nullptr) {
        for (auto& [id, unreadable] : former) {
            const auto adopted = std::ranges::find(unreadable.adopted, event.run, &AdoptedRun::run);
            if (adopted == unreadable.adopted.end()) continue;
            unreadable.ended.push_back(event);
            // The job will be loaded with a history that has it.
            if (event.outcome == RunOutcome::failed) adopted->is_counted = true;
        }
        return;
    }
    const bool cancelling = run->state == RunState::cancelling;
    move(*job, *run, RunState::ended);
    if (job->gone) return;
    switch (event.outcome) {
        case RunOutcome::succeeded:
            succeeded(*job, *run);
            break;
        case RunOutcome::failed:
            failed(*job, *run, event.retryable && !cancelling);
            break;
        case RunOutcome::cancelled:
            finish(*job, run->occurrence.scheduled_at, false);
            break;
    }
}

void Scheduler::State::succeeded(JobState& job, const ActiveRun& run) {
    finish(job, run.occurrence.scheduled_at, true);
    if (run.manual) return;
    job.job.consecutive_failures = 0;
    if (is_once(*job.rules)) commands.push_back(DeleteJob{job.job.id});
}

void Scheduler::State::failed(JobState& job, ActiveRun& run, bool retryable) {
    std::optional<Instant> at;
    if (retryable && job.job.active) {
        at = retry_time(*job.rules, run.occurrence.attempt, now, job.next, random());
    }
    if (at.has_value()) {
        // In place of the failed attempt, because runs that wait for this run wait for its retries
        // too.
        Occurrence next = run.occurrence;
        ++next.attempt;
        next.trigger = RunTrigger::retry;
        run = ActiveRun{.occurrence = next,
                        .sequence = run.sequence,
                        .since = next.scheduled_at,
                        .not_before = *at,
                        .shown_wait = {.cause = WaitCause::retry},
                        .manual = run.manual};
        move(job, run, RunState::claiming, text_of(run.shown_wait, run));
        return;
    }
    finish(job, run.occurrence.scheduled_at, false);
    if (run.manual) return;
    ++job.job.consecutive_failures;
    const bool too_many = job.rules->max_failures > 0 && job.job.active &&
                          job.job.consecutive_failures >= job.rules->max_failures;
    if (too_many) pause(job, run.id);
}

void Scheduler::State::pause(JobState& job, RunId last_failed) {
    commands.push_back(
        PauseJob{job.job.id, "paused after " + std::to_string(job.job.consecutive_failures) +
                                 " failed occurrences in a row; last: run " +
                                 std::to_string(static_cast<std::int64_t>(last_failed)) +
                                 ". Mend the cause, then cron.resume(" +
                                 in_single_quotes(job.job.name) + ")"});
    // At once, without waiting for the change of its row, so that nothing is claimed in between.
    job.job.active = false;
    job.next = kNever;
    repeats.erase(job.job.id);
    skip_waiting(job, reasons::kPaused, false);
}

}  // namespace securatlas::core
