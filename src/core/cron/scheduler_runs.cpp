// The life of a run: its states, what it waits for, and what may start when it ends.
#include <algorithm>
#include <limits>

#include "cron/scheduler_state.hpp"
#include "securatlas/core/cron/run_reasons.hpp"

namespace securatlas::core {

namespace {

bool may_move(RunState from, RunState to) {
    switch (to) {
        case RunState::planned:
            return false;
        case RunState::claiming:
            return from == RunState::planned;
        case RunState::waiting:
            return from == RunState::planned || from == RunState::claiming;
        case RunState::running:
            return from == RunState::planned || from == RunState::waiting;
        case RunState::cancelling:
            return from == RunState::running;
        case RunState::skipped:
            return from == RunState::waiting;
        case RunState::ended:
            return from != RunState::planned && !is_over(from);
    }
    return false;
}

Instant rank(const JobState& job, const ActiveRun& run) {
    return rank_of(run.occurrence.scheduled_at, job.rules->priority);
}

// Whether another run of the job has to end first. A manual run waits for running ones only.
bool is_behind_another(const JobState& job, const ActiveRun& run) {
    if (job.rules->overlap == OverlapPolicy::allow) return false;
    if (!run.manual || run.occurrence.attempt > 1) {
        const auto first = std::ranges::find_if(
            job.runs, [](const ActiveRun& other) { return !is_over(other.state); });
        if (first != job.runs.end() && &*first != &run) return true;
    }
    return std::ranges::any_of(job.runs,
                               [](const ActiveRun& other) { return is_under_way(other.state); });
}

}  // namespace

void Scheduler::State::move(JobState& job, ActiveRun& run, RunState to, std::string reason) {
    const RunState from = run.state;
    if (!may_move(from, to)) return;
    run.state = to;
    if (from == RunState::claiming) --claiming;
    if (to == RunState::claiming) ++claiming;
    switch (to) {
        case RunState::planned:
            break;
        case RunState::claiming:
            commands.push_back(
                ClaimRun{run.occurrence, std::move(reason), job.job.owner, rank(job, run)});
            break;
        case RunState::waiting:
            owners.emplace(run.id, job.job.id);
            break;
        case RunState::running:
            if (from == RunState::planned) {
                owners.emplace(run.id, job.job.id);
            } else {
                commands.push_back(
                    StartRun{run.id, job.job.id, run.occurrence.scheduled_at, rank(job, run)});
            }
            break;
        case RunState::cancelling:
            commands.push_back(CancelRun{run.id});
            break;
        case RunState::skipped:
            commands.push_back(SkipRun{run.id, std::move(reason)});
            break;
        case RunState::ended:
            break;
    }
    if (!is_over(to)) return;
    if (from != RunState::claiming) owners.erase(run.id);
    mark(job);
    mark_dependents(job.job.id);
}

ActiveRun& Scheduler::State::add_run(JobState& job, const Occurrence& occurrence) {
    job.runs.push_back({.occurrence = occurrence, .sequence = next_sequence++});
    return job.runs.back();
}

void Scheduler::State::claim(JobState& job, ActiveRun& run) {
    run.shown_wait = wait_reason(job, run);
    move(job, run, RunState::claiming, text_of(run.shown_wait, run));
}

WaitReason Scheduler::State::wait_reason(const JobState& job, const ActiveRun& run) const {
    const WaitReason dependency = dependency_of(job, run);
    if (dependency.cause == WaitCause::failed) return dependency;
    if (is_behind_another(job, run)) return {.cause = WaitCause::previous};
    if (dependency.cause != WaitCause::none) return dependency;
    if (run.not_before <= now) return {};
    const bool retry = run.occurrence.trigger == RunTrigger::retry;
    return {.cause = retry ? WaitCause::retry : WaitCause::jitter};
}

WaitReason Scheduler::State::dependency_of(const JobState& job, const ActiveRun& run) const {
    const auto counts = [&run](Instant at) {
        return at > run.since && at <= run.occurrence.scheduled_at;
    };
    WaitReason failed;
    for (const auto& [after, condition] : job.rules->after) {
        const JobState* other = find(after);
        if (other == nullptr || other->gone) continue;
        for (const ActiveRun& earlier : other->runs) {
            const bool finishes = !is_over(earlier.state) && earlier.doom == nullptr;
            if (finishes && earlier.sequence < run.sequence &&
                counts(earlier.occurrence.scheduled_at)) {
                return {.cause = WaitCause::dependency, .other = after};
            }
        }
        if (condition == DependencyCondition::succeeded && other->last_failed &&
            counts(other->last_finished)) {
            failed = {.cause = WaitCause::failed, .other = after};
        }
    }
    return failed;
}

std::string Scheduler::State::text_of(const WaitReason& reason, const ActiveRun& run) const {
    const JobState* other = find(reason.other);
    const std::string name = other == nullptr ? std::string() : other->job.name;
    switch (reason.cause) {
        case WaitCause::none:
            return {};
        case WaitCause::previous:
            return reasons::kPreviousRun;
        case WaitCause::dependency:
            return reasons::waiting_for(name);
        case WaitCause::jitter:
            return reasons::kJitter;
        case WaitCause::retry:
            return reasons::retry_at(utc_text(run.not_before));
        case WaitCause::failed:
            return reasons::dependency_failed(name);
    }
    return {};
}

void Scheduler::State::skip_waiting(JobState& job, const char* reason, bool manual_too) {
    for (ActiveRun& run : job.runs) {
        if (run.manual && !manual_too) continue;
        if (run.state == RunState::claiming) run.doom = reason;
        move(job, run, RunState::skipped, reason);
    }
}

void Scheduler::State::replace_others(JobState& job, const ActiveRun& replacement) {
    for (ActiveRun& run : job.runs) {
        if (run.sequence >= replacement.sequence) continue;
        if (is_under_way(run.state)) {
            move(job, run, RunState::cancelling);
        } else if (!run.manual) {
            if (run.state == RunState::claiming) run.doom = reasons::kReplaced;
            move(job, run, RunState::skipped, reasons::kReplaced);
        }
    }
}

void Scheduler::State::finish(JobState& job, Instant scheduled_at, bool success) {
    job.last_finished = scheduled_at;
    job.last_failed = !success;
}

void Scheduler::State::mark(JobState& job) {
    if (job.dirty) return;
    job.dirty = true;
    dirty.push_back(job.job.id);
}

void Scheduler::State::mark_dependents(JobId job) {
    const JobId first{(std::numeric_limits<std::int64_t>::min)()};
    for (auto edge = dependents.lower_bound({job, first});
         edge != dependents.end() && edge->first == job; ++edge) {
        JobState* dependent = find(edge->second);
        if (dependent != nullptr) mark(*dependent);
    }
}

// This loop terminates: a job is marked dirty again only when one of its runs, or of the jobs that
// it waits for, has ended.
void Scheduler::State::settle() {
    for (std::size_t i = 0; i < dirty.size(); ++i) {
        JobState* job = find(dirty[i]);
        if (job == nullptr) continue;
        job->dirty = false;
        settle(*job);
    }
    dirty.clear();
}

void Scheduler::State::settle(JobState& job) {
    for (ActiveRun& run : job.runs) {
        if (run.state == RunState::waiting) advance(job, run);
    }
    std::erase_if(job.runs, [](const ActiveRun& run) { return is_over(run.state); });
    // Frees the memory: most jobs have no run most of the time.
    if (job.runs.empty()) job.runs = {};
    if (job.gone && job.runs.empty()) {
        const JobId id = job.job.id;
        timers.remove(job);
        jobs.erase(id);
        return;
    }
    set_timer(job);
}

void Scheduler::State::advance(JobState& job, ActiveRun& run) {
    const WaitReason reason = wait_reason(job, run);
    if (reason.cause == WaitCause::none) {
        move(job, run, RunState::running);
    } else if (reason.cause == WaitCause::failed) {
        finish(job, run.occurrence.scheduled_at, false);
        move(job, run, RunState::skipped, text_of(reason, run));
    } else if (reason != run.shown_wait) {
        run.shown_wait = reason;
        commands.push_back(ExplainWait{run.id, text_of(reason, run)});
    }
}

void Scheduler::State::set_timer(JobState& job) {
    Instant at = first_due(job);
    for (const ActiveRun& run : job.runs) {
        const bool timed =
            run.shown_wait.cause == WaitCause::jitter || run.shown_wait.cause == WaitCause::retry;
        if (run.state == RunState::waiting && timed && run.not_before > now) {
            at = std::min(at, run.not_before);
        }
    }
    timers.set(job, at);
}

JobState* Scheduler::State::find(JobId id) {
    const auto place = jobs.find(id);
    return place == jobs.end() ? nullptr : &place->second;
}

const JobState* Scheduler::State::find(JobId id) const {
    const auto place = jobs.find(id);
    return place == jobs.end() ? nullptr : &place->second;
}

std::pair<JobState*, ActiveRun*> Scheduler::State::find_run(RunId id) {
    const auto owner = owners.find(id);
    JobState* job = owner == owners.end() ? nullptr : find(owner->second);
    if (job == nullptr) return {nullptr, nullptr};
    const auto run = std::ranges::find_if(job->runs, [id](const ActiveRun& candidate) {
        return candidate.id == id && candidate.state != RunState::claiming;
    });
    return run == job->runs.end() ? std::pair<JobState*, ActiveRun*>{nullptr, nullptr}
                                  : std::pair<JobState*, ActiveRun*>{job, &*run};
}

}  // namespace securatlas::core
