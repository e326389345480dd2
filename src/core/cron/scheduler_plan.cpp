// Which occurrences are due, which were missed, and what happens to them.
#include <algorithm>
#include <iterator>

#include "cron/scheduler_state.hpp"
#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/core/cron/schedule.hpp"

namespace securatlas::core {

namespace {

// The resolution of Instant.
constexpr Duration kTick(1);

// Merges `more` into `candidates`, ascending, with one entry for each instant: the one with the
// latest attempt.
void merge(std::vector<MissedOccurrence>& candidates, std::vector<MissedOccurrence> more) {
    candidates.insert(candidates.end(), more.begin(), more.end());
    std::ranges::sort(candidates, [](const MissedOccurrence& a, const MissedOccurrence& b) {
        return a.at != b.at ? a.at < b.at : a.attempt > b.attempt;
    });
    const auto is_same = [](const MissedOccurrence& a, const MissedOccurrence& b) {
        return a.at == b.at;
    };
    candidates.erase(std::unique(candidates.begin(), candidates.end(), is_same), candidates.end());
}

}  // namespace

Instant next_after(const JobState& job, Instant after) {
    if (job.rules->schedule == nullptr || job.rules->zone == nullptr) return kNever;
    const std::optional<Instant> next =
        next_occurrence(*job.rules->schedule, *job.rules->zone, job.job.planned_from, after);
    return next.has_value() && *next > after ? *next : kNever;
}

bool is_once(const JobRules& rules) {
    return rules.schedule != nullptr && rules.schedule->kind() == ScheduleKind::at;
}

bool is_reboot(const JobRules& rules) {
    return rules.schedule != nullptr && rules.schedule->kind() == ScheduleKind::reboot;
}

// Planning goes on from the new time. What is still left of the time before it stays due.
void Scheduler::State::clock_set_back() {
    const Duration back = last_step - now;
    last_step = seen_at = now;
    planned_until = std::min(planned_until, now);
    for (auto& [id, job] : jobs) {
        for (ActiveRun& run : job.runs) {
            if (run.not_before != kLongAgo) run.not_before -= back;
        }
        job.last_due = std::min(job.last_due, now);
        job.settled_until = std::min(job.settled_until, now);
        job.missed_until = std::min(job.missed_until, now);
        if (job.job.planned_from > now + kMissedAfter) job.job.planned_from = now;
        if (started && job.next > now) plan(job, std::max(now, job.job.planned_from));
        mark(job);
    }
}

// The job's occurrences after this instant have to be planned. The only occurrence of a one-off job
// must not be lost, however late its transaction committed.
Instant Scheduler::State::first_unplanned(const JobState& job) const {
    const Instant until = is_once(*job.rules) ? job.last_due : planned_until;
    return std::max({until, job.settled_until, job.job.planned_from});
}

void Scheduler::State::plan(JobState& job, Instant after) {
    job.next = job.job.active && !job.gone ? next_after(job, after) : kNever;
    set_timer(job);
}

Instant Scheduler::State::first_due(const JobState& job) const {
    const auto repeated = repeats.find(job.job.id);
    return repeated == repeats.end() ? job.next : std::min(job.next, repeated->second.back().at);
}

// Job by job, before anything is due, like what was missed before the start.
bool Scheduler::State::judge_late() {
    if (listed_at != seen_at) {
        listed_at = seen_at;
        to_judge.clear();
        // Nearly always it is now, and then no job is looked at.
        if (timers.first_at() < seen_at - kMissedAfter) to_judge = job_ids();
        std::ranges::sort(to_judge, std::ranges::greater());
    }
    while (!to_judge.empty() && looked_at < kMaxLookedAtInStep) {
        JobState* job = find(to_judge.back());
        to_judge.pop_back();
        if (job == nullptr || !judge_late(*job)) continue;
        set_timer(*job);
        mark(*job);
    }
    return to_judge.empty();
}

// Whether the job's next occurrence was missed. If so, those that run are its next ones.
bool Scheduler::State::judge_late(JobState& job) {
    const Instant missed_until = seen_at - kMissedAfter - kTick;
    if (job.next <= job.missed_until || job.next > missed_until) return false;
    collect_missed(job, job.next - kTick, missed_until, {}, reasons::kClockStep);
    job.next = next_after(job, job.settled_until);
    return true;
}

// Occurrences of all jobs in one order, because planned_until is one instant for all of them, and
// because a job waits for occurrences of other jobs that were decided before its own.
void Scheduler::State::collect_due() {
    behind = false;
    Instant at = kLongAgo;
    while (timers.first_at() <= now) {
        const bool is_enough = due.size() >= kMaxDueInStep || claiming + due.size() >= kMaxClaiming;
        behind = is_enough && timers.first_at() > at;
        if (behind) break;
        at = timers.first_at();
        JobState& job = timers.pop();
        if (first_due(job) <= at) collect_due(job, first_due(job));
        timers.set(job, first_due(job));
        mark(job);
    }
    planned_until = behind ? std::max(planned_until, at) : now;
}

// One occurrence, and plans the job's next one.
void Scheduler::State::collect_due(JobState& job, Instant at) {
    Due one{.job = &job, .occurrence = {.job = job.job.id, .scheduled_at = at}};
    const auto repeated = repeats.find(job.job.id);
    const bool is_repeated = repeated != repeats.end() && repeated->second.back().at == at;
    if (is_repeated) {
        one.occurrence.attempt = repeated->second.back().attempt;
        repeated->second.pop_back();
        if (repeated->second.empty()) repeats.erase(repeated);
    } else if (judge_late(job)) {
        return;
    }
    const bool is_missed = is_repeated || at <= job.missed_until;
    one.keep = is_missed && job.rules->missed == MissedPolicy::all;
    one.occurrence.trigger = is_once(*job.rules) ? RunTrigger::once
                             : is_missed         ? RunTrigger::catchup
                                                 : RunTrigger::schedule;
    if (job.next == at) job.next = next_after(job, at);
    due.push_back(one);
}

// Job by job, before anything is due: what was missed is due in the order of all jobs.
bool Scheduler::State::begin_jobs() {
    while (!to_begin.empty() && looked_at < kMaxLookedAtInStep) {
        JobState* job = find(to_begin.back());
        const auto known = former.extract(to_begin.back());
        to_begin.pop_back();
        if (job != nullptr && !job->gone && !job->begun)
            begin(*job, known ? known.mapped() : at_start);
    }
    return to_begin.empty();
}

void Scheduler::State::begin(JobState& job, const Former& before) {
    job.begun = true;
    ++looked_at;
    for (const AdoptedRun& run : before.adopted) adopt(job, run);
    const bool rebooted = before.server_start.has_value() && is_reboot(*job.rules) &&
                          *before.server_start > job.job.planned_from;
    collect_unfinished(job, before, rebooted);
    if (rebooted) {
        due.push_back(
            {.job = &job, .occurrence = {.job = job.job.id, .scheduled_at = *before.server_start}});
    }
    const Instant until = is_once(*job.rules) ? job.last_due : kLongAgo;
    plan(job, std::max({until, job.settled_until, job.job.planned_from}));
    for (const RunEnded& ended : before.ended) handle(ended);
}

void Scheduler::State::adopt(JobState& job, const AdoptedRun& adopted) {
    if (owners.contains(adopted.run)) return;
    ActiveRun& run = add_run(job, adopted.occurrence);
    run.id = adopted.run;
    run.manual = adopted.occurrence.trigger == RunTrigger::manual;
    int& failures = job.job.consecutive_failures;
    if (adopted.is_counted && !run.manual && failures > 0) --failures;
    move(job, run, RunState::running);
}

void Scheduler::State::collect_unfinished(JobState& job, const Former& before, bool rebooted) {
    std::vector<MissedOccurrence> repeated;
    const auto repeat = [&](const auto& run) {
        const std::optional<MissedOccurrence> next = again(job, run);
        // The occurrence of "@reboot" is the start of the server; no earlier one is run again.
        if (next.has_value() && !rebooted) repeated.push_back(*next);
    };
    std::ranges::for_each(before.interrupted, repeat);
    std::ranges::for_each(before.failed, repeat);
    if (!job.job.active) return;
    const Instant since = std::min(before.planned_until.value_or(seen_at), now);
    const Instant from = std::max(since, job.job.planned_from);
    if (from < seen_at || !repeated.empty()) {
        collect_missed(job, std::min(from, seen_at), seen_at, std::move(repeated), before.why);
    } else {
        job.settled_until = std::max(since, seen_at);
    }
}

// The next attempt of an interrupted run, which is treated like a missed occurrence; nullopt: there
// is none, or it is that of a manual run, which was added to `due`.
std::optional<MissedOccurrence> Scheduler::State::again(JobState& job, const InterruptedRun& run) {
    const MissedOccurrence next{run.occurrence.scheduled_at, run.occurrence.attempt + 1};
    const bool wanted =
        job.job.active && (run.transactional || run.occurrence.attempt <= job.rules->max_retries);
    if (!wanted) {
        finish(job, next.at, false);
        return std::nullopt;
    }
    if (run.occurrence.trigger != RunTrigger::manual) return next;
    if (missed_to_run(job.rules->missed, job.rules->catchup_window, now, {&next, 1}) > 0) {
        due.push_back({.job = &job,
                       .occurrence = {.job = job.job.id,
                                      .scheduled_at = next.at,
                                      .attempt = next.attempt,
                                      .trigger = RunTrigger::catchup},
                       .manual = true});
    }
    return std::nullopt;
}

// The retry of a failed run, if its time has passed: it is treated like a missed occurrence. A
// retry whose time has not come, or of a manual run, is added to `due`.
std::optional<MissedOccurrence> Scheduler::State::again(JobState& job, const FailedRun& run) {
    const MissedOccurrence next{run.occurrence.scheduled_at, run.occurrence.attempt + 1};
    const bool manual = run.occurrence.trigger == RunTrigger::manual;
    const std::optional<Instant> at =
        job.job.active ? retry_time(*job.rules, run.occurrence.attempt, run.ended_at,
                                    next_after(job, run.ended_at), random())
                       : std::nullopt;
    if (!at.has_value()) return std::nullopt;
    // The occurrence has failed only when its retries have.
    if (!manual && job.job.consecutive_failures > 0) --job.job.consecutive_failures;
    if (*at <= now && !manual) return next;
    due.push_back({.job = &job,
                   .occurrence = {.job = job.job.id,
                                  .scheduled_at = next.at,
                                  .attempt = next.attempt,
                                  .trigger = RunTrigger::retry},
                   .manual = manual,
                   .keep = true,
                   .not_before = *at});
    return std::nullopt;
}

void Scheduler::State::collect_missed(JobState& job, Instant from, Instant until,
                                      std::vector<MissedOccurrence> interrupted, const char* why) {
    const auto next = [this, &job](Instant after) {
        ++looked_at;
        return next_after(job, after);
    };
    std::size_t limit = missed_limit(job.rules->missed);
    if (job.rules->missed == MissedPolicy::all) {
        // Only occurrences inside the window may run, and usually they are few.
        const Instant window = std::max(from, seen_at - job.rules->catchup_window - kTick);
        if (window < until) {
            limit = std::min(limit, find_missed(next, window, until, 1, kMaxBuffered).count + 1);
        } else {
            limit = 1;
        }
    }
    const std::size_t most = std::clamp(countable, kFewCounted, kMaxCounted);
    const MissedInstants missed = find_missed(next, from, until, limit, most);
    countable -= std::min(countable, missed.count);
    std::vector<MissedOccurrence> candidates;
    for (const Instant at : missed.latest) candidates.push_back({at, 1});
    const std::size_t considered = candidates.size();
    merge(candidates, std::move(interrupted));
    const std::size_t total = missed.count - std::min(missed.count, considered) + candidates.size();
    const std::size_t run =
        missed_to_run(job.rules->missed, job.rules->catchup_window, seen_at, candidates);
    const RunTrigger trigger = is_once(*job.rules) ? RunTrigger::once : RunTrigger::catchup;

    const auto first = candidates.end() - static_cast<std::ptrdiff_t>(run);
    for (auto dropped = candidates.begin(); dropped != first; ++dropped) {
        if (dropped->attempt > 1) finish(job, dropped->at, false);
    }
    if (first != candidates.begin()) {
        const MissedOccurrence& latest = *(first - 1);
        std::string reason = why;
        if (!missed.counted_all) reason += " (at least so many)";
        commands.push_back(RecordSkip{{job.job.id, latest.at, latest.attempt, trigger},
                                      std::move(reason),
                                      static_cast<std::int64_t>(total - run)});
        job.last_due = std::max(job.last_due, latest.at);
    }
    job.missed_until = until;
    job.settled_until = first == candidates.end() ? until : std::max(from, first->at - kTick);
    std::vector<MissedOccurrence> again;
    std::copy_if(first, candidates.end(), std::back_inserter(again),
                 [](const MissedOccurrence& missed_one) { return missed_one.attempt > 1; });
    std::ranges::reverse(again);
    if (!again.empty()) repeats.insert_or_assign(job.job.id, std::move(again));
}

void Scheduler::State::decide_due() {
    order_due(due);
    for (const Due& one : due) decide(one);
    due.clear();
}

void Scheduler::State::decide(const Due& one) {
    JobState& job = *one.job;
    const Occurrence& occurrence = one.occurrence;
    const Instant at = occurrence.scheduled_at;
    const bool under_way = std::ranges::any_of(job.runs, [at](const ActiveRun& run) {
        return !is_over(run.state) && run.occurrence.scheduled_at == at;
    });
    // The job was paused or removed in this step, or the occurrence was planned again after the
    // clock was set back.
    if (!job.job.active || job.gone || under_way) return;

    // Manual runs do not wait for other jobs, and a retry has waited already.
    const bool is_retry = occurrence.trigger == RunTrigger::retry;
    const Instant since = one.manual || is_retry ? at : job.last_due < at ? job.last_due : kLongAgo;
    if (!one.manual) job.last_due = std::max(job.last_due, at);
    const ActiveRun probe{.occurrence = occurrence, .sequence = next_sequence, .since = since};
    const WaitReason dependency = dependency_of(job, probe);
    if (dependency.cause == WaitCause::failed) {
        commands.push_back(RecordSkip{occurrence, text_of(dependency, probe)});
        finish(job, at, false);
        mark_dependents(job.job.id);
        return;
    }

    OverlapPolicy policy = job.rules->overlap;
    if (one.manual || (one.keep && policy != OverlapPolicy::allow)) {
        policy = OverlapPolicy::buffer_all;
    }
    std::size_t unfinished = 0;
    std::size_t buffered = 0;
    for (const ActiveRun& run : job.runs) {
        if (is_over(run.state)) continue;
        if (unfinished > 0 && !run.manual && !is_under_way(run.state)) ++buffered;
        ++unfinished;
    }
    const OverlapDecision decision = decide_overlap(policy, unfinished, buffered);
    if (decision == OverlapDecision::skip) {
        commands.push_back(RecordSkip{occurrence, reasons::kOverlap});
        return;
    }
    ActiveRun& run = add_run(job, occurrence);
    run.since = since;
    run.manual = one.manual;
    run.replaces = decision == OverlapDecision::replace;
    run.not_before = one.not_before;
    if (occurrence.trigger == RunTrigger::schedule && job.rules->jitter > Duration(0)) {
        const Duration most = std::min(job.rules->jitter, next_after(job, at) - at);
        run.not_before = at + std::chrono::floor<Duration>(random() * most);
    }
    claim(job, run);
}

}  // namespace securatlas::core
