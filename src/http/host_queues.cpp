#include "host_queues.hpp"

#include <algorithm>
#include <utility>

namespace securatlas::http {
namespace {

constexpr core::Duration kReadFromStart = std::chrono::seconds(1);
// Rows of a host that is down end as they are read, so that more of them are read than could be
// sent.
constexpr std::size_t kRowsOfDownHost = 500;

}  // namespace

// ---- reading -------------------------------------------------------------------------------

// How many of the rows read ahead each host may have.
std::size_t HostQueues::share() const {
    const auto active = static_cast<std::size_t>(
        std::count_if(queues_.begin(), queues_.end(), [](const auto& entry) {
            return !entry.second.rows.empty() || entry.second.in_flight > 0;
        }));
    return std::max<std::size_t>(1, most_rows_ / std::max<std::size_t>(1, active));
}

std::size_t HostQueues::room(const Queue& queue, std::size_t most, core::Duration monotonic) const {
    if (monotonic < queue.closed_until) return 0;
    const std::size_t left = kMaxBytes - std::min(kMaxBytes, bytes_);
    if (queue.bytes >= left) return 0;
    if (queue.is_down) return kRowsOfDownHost;
    most *= queue.haste;
    return most - std::min(most, queue.rows.size());
}

// Reading again is not worth it for every single row that was started.
bool HostQueues::wants_refill(const Queue& queue, std::size_t most,
                              core::Duration monotonic) const {
    const std::size_t free = room(queue, most, monotonic);
    if (!queue.has_more || free == 0) return false;
    return queue.is_down || 2 * free >= most * queue.haste;
}

bool HostQueues::wants_to_read(core::Duration monotonic) const {
    if (bytes_ >= kMaxBytes) return false;
    if (look_at_all_ && waiting_ < 2 * kMaxHaste * most_rows_) return true;
    const std::size_t most = share();
    return std::any_of(queues_.begin(), queues_.end(), [&](const auto& entry) {
        return wants_refill(entry.second, most, monotonic);
    });
}

bool HostQueues::has_more() const {
    return look_at_all_ || std::any_of(queues_.begin(), queues_.end(),
                                       [](const auto& entry) { return entry.second.has_more; });
}

core::ReadPlan HostQueues::plan(core::Instant now, core::Duration monotonic,
                                std::vector<std::int64_t> known) const {
    core::ReadPlan plan;
    plan.now = now;
    plan.after_host = after_;
    plan.looks_at_all = look_at_all_;
    const std::size_t most = share();
    plan.room = static_cast<int>(most);
    plan.max_bytes = kMaxBytes - std::min(kMaxBytes, bytes_);
    plan.excluded = std::move(known);
    std::size_t hasty = 0;
    for (const auto& [host, queue] : queues_) {
        hasty += most * (queue.haste - 1);
        const auto behind =
            monotonic >= queue.from_start_at ? core::ReadPlan::Position{} : queue.behind;
        plan.hosts.push_back({host, behind, static_cast<int>(room(queue, most, monotonic))});
        for (const auto& row : queue.rows)
            plan.excluded.push_back(static_cast<std::int64_t>(row.id));
    }
    plan.limit = static_cast<int>(2 * most_rows_ + hasty + kRowsOfDownHost);
    return plan;
}

void HostQueues::note_read(Queue& queue, std::size_t room, std::size_t count,
                           core::ReadPlan::Position last, core::Duration monotonic) {
    const bool from_start =
        queue.behind.ready_at == core::kLongAgo || monotonic >= queue.from_start_at;
    if (room > 0 && count >= room) {
        queue.has_more = true;
        queue.behind = last;
        if (from_start) queue.from_start_at = monotonic + kReadFromStart;
    } else if (room > 0) {
        // Rows before `behind` have not been read yet.
        queue.has_more = !from_start;
        queue.behind = {};
        queue.from_start_at = core::Duration(0);
    }
}

// The host has had nothing to start since some moment of the reading.
void HostQueues::note_haste(Queue& queue, int room) {
    const bool is_used_up = queue.rows.empty() && queue.in_flight > 0 && queue.has_more;
    if (room > 0 && is_used_up) queue.haste = std::min(2 * queue.haste, kMaxHaste);
}

void HostQueues::add(core::ReadRequests ready, const core::ReadPlan& plan,
                     core::Duration monotonic) {
    struct Found {
        std::size_t count = 0;
        core::ReadPlan::Position last;
    };
    for (const auto& range : plan.hosts) {
        const auto queue = queues_.find(range.host);
        if (queue != queues_.end()) note_haste(queue->second, range.room);
    }
    std::map<std::string, Found> found;
    std::string last_host;
    for (core::QueuedRequest& row : ready.requests) {
        Found& of_host = found[row.host];
        ++of_host.count;
        of_host.last = {row.ready_at, static_cast<std::int64_t>(row.id)};
        last_host = row.host;
        Queue& queue = queues_[row.host];
        queue.bytes += row.body.size();
        bytes_ += row.body.size();
        ++waiting_;
        queue.rows.push_back(std::move(row));
    }
    std::map<std::string, std::size_t> rooms;
    for (const auto& range : plan.hosts) rooms[range.host] = static_cast<std::size_t>(range.room);
    for (auto& [host, queue] : queues_) {
        const bool was_reached =
            host > plan.after_host && (!ready.is_cut || (!last_host.empty() && host < last_host));
        const auto asked = rooms.find(host);
        const std::size_t room =
            asked == rooms.end() ? static_cast<std::size_t>(plan.room) : asked->second;
        if (ready.partial.contains(host)) {
            queue.has_more = true;
            queue.behind = {};
        } else if (was_reached) {
            note_read(queue, room, found[host].count, found[host].last, monotonic);
        } else if (host == last_host) {
            queue.has_more = true;
            queue.behind = {};
        }
    }
    after_ = ready.is_cut ? last_host : std::string();
    look_at_all_ = ready.is_cut || !plan.after_host.empty();
    forget_unused();
}

void HostQueues::forget_unused() {
    std::erase_if(queues_, [](const auto& entry) {
        const Queue& queue = entry.second;
        return queue.rows.empty() && queue.in_flight == 0 && !queue.has_more;
    });
}

// ---- starting ------------------------------------------------------------------------------

std::vector<HostQueues::Queue*> HostQueues::queues_with_rows() {
    std::vector<Queue*> queues;
    for (auto& [host, queue] : queues_) {
        if (!queue.rows.empty()) queues.push_back(&queue);
    }
    return queues;
}

void HostQueues::ended(const std::string& host, std::size_t bytes) {
    bytes_ -= bytes;
    Queue& queue = queues_.at(host);
    queue.bytes -= bytes;
    --queue.in_flight;
}

void HostQueues::drop_rows(Queue& queue) {
    for (const auto& row : queue.rows) {
        bytes_ -= row.body.size();
        queue.bytes -= row.body.size();
    }
    waiting_ -= queue.rows.size();
    queue.rows.clear();
    queue.haste = 1;
    queue.has_more = true;
    queue.behind = {};
}

void HostQueues::close(const std::string& host, core::Duration until) {
    Queue& queue = queues_.at(host);
    drop_rows(queue);
    queue.closed_until = until;
}

bool HostQueues::remove(core::RequestId id) {
    for (auto& [host, queue] : queues_) {
        const auto row = std::find_if(queue.rows.begin(), queue.rows.end(),
                                      [id](const auto& other) { return other.id == id; });
        if (row == queue.rows.end()) continue;
        bytes_ -= row->body.size();
        queue.bytes -= row->body.size();
        queue.rows.erase(row);
        --waiting_;
        return true;
    }
    return false;
}

void HostQueues::remove_all() {
    for (auto& [host, queue] : queues_) drop_rows(queue);
    look_at_all_ = true;
}

bool HostQueues::is_waited_for(const std::string& host, core::Duration monotonic) const {
    const auto found = queues_.find(host);
    if (found == queues_.end()) return false;
    const Queue& queue = found->second;
    return !queue.rows.empty() || (queue.has_more && queue.closed_until > monotonic);
}

std::optional<core::Duration> HostQueues::next_opening(core::Duration monotonic) const {
    std::optional<core::Duration> next;
    for (const auto& [host, queue] : queues_) {
        if (!queue.has_more || queue.closed_until <= monotonic) continue;
        if (!next || queue.closed_until < *next) next = queue.closed_until;
    }
    return next;
}

}  // namespace securatlas::http
