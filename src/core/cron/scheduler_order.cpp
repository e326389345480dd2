// The order in which the occurrences that are due in one step are processed.
#include <algorithm>
#include <iterator>
#include <span>

#include "cron/scheduler_state.hpp"

namespace securatlas::core {

namespace {

JobId job_of(const Due& due) { return due.occurrence.job; }

// Reorders what is due at one instant (given in order of job ids), so that each job comes after the
// jobs that it runs after. A depth-first search with an explicit stack, because a chain may be as
// long as there are jobs. Each job is visited once, so that cycles do no harm.
void order_instant(std::span<Due> group) {
    struct Visit {
        std::size_t index;
        std::size_t next_dependency = 0;
    };
    std::vector<bool> seen(group.size());
    std::vector<Due> ordered;
    std::vector<Visit> stack;
    ordered.reserve(group.size());
    for (std::size_t start = 0; start < group.size(); ++start) {
        if (seen[start]) continue;
        seen[start] = true;
        stack.push_back({start});
        while (!stack.empty()) {
            Visit& visit = stack.back();
            const std::vector<Dependency>& after = group[visit.index].job->rules->after;
            if (visit.next_dependency == after.size()) {
                ordered.push_back(group[visit.index]);
                stack.pop_back();
                continue;
            }
            const JobId wanted = after[visit.next_dependency++].after;
            const auto found = std::ranges::lower_bound(group, wanted, {}, job_of);
            if (found == group.end() || job_of(*found) != wanted) continue;
            const auto index = static_cast<std::size_t>(found - group.begin());
            if (seen[index]) continue;
            seen[index] = true;
            stack.push_back({index});
        }
    }
    std::ranges::move(ordered, group.begin());
}

}  // namespace

void order_due(std::vector<Due>& due) {
    std::ranges::stable_sort(due, [](const Due& a, const Due& b) {
        const Instant at = a.occurrence.scheduled_at;
        const Instant other = b.occurrence.scheduled_at;
        return at != other ? at < other : job_of(a) < job_of(b);
    });
    for (auto first = due.begin(); first != due.end();) {
        const auto last = std::find_if(first, due.end(), [first](const Due& candidate) {
            return candidate.occurrence.scheduled_at != first->occurrence.scheduled_at;
        });
        const bool ordered = std::none_of(
            first, last, [](const Due& candidate) { return !candidate.job->rules->after.empty(); });
        if (!ordered) order_instant({first, last});
        first = last;
    }
}

}  // namespace securatlas::core
