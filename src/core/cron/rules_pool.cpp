// Jobs that have the same rules share them.
#include "cron/scheduler_state.hpp"

namespace securatlas::core {

// By what differs most often.
std::size_t RulesPool::hash(const JobRules& rules) {
    std::size_t value = std::hash<const void*>()(rules.schedule.get());
    const auto add = [&value](std::int64_t more) {
        value = value * 31 + std::hash<std::int64_t>()(more);
    };
    add(rules.max_retries);
    add(rules.priority);
    add(rules.jitter.count());
    if (!rules.after.empty()) add(static_cast<std::int64_t>(rules.after.front().after));
    return value;
}

std::shared_ptr<const JobRules> RulesPool::share(const JobRules& rules) {
    const auto found = pool_.find(rules);
    if (found != pool_.end()) return *found;
    if (pool_.size() >= sweep_at_) {
        std::erase_if(pool_, [](const Shared& shared) { return shared.use_count() == 1; });
        sweep_at_ = (std::max)(std::size_t{1024}, pool_.size() * 2);
    }
    return *pool_.insert(std::make_shared<const JobRules>(rules)).first;
}

}  // namespace securatlas::core
