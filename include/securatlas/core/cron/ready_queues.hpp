// What may start as soon as a worker is free: a queue for each target (a database and a role), in
// which items come by their rank. Between targets the one comes first whose first item was due
// first: so a role gains nothing over others by the ranks of its own items.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "securatlas/core/time.hpp"

namespace securatlas::core {

template <class Target, class Item>
class ReadyQueues {
  public:
    // An item with its place: the earlier rank first, of the same rank what was due earlier.
    struct Key {
        Instant rank;
        Instant due;
        Item item;
        friend bool operator<(const Key& a, const Key& b) {
            return std::tie(a.rank, a.due, a.item) < std::tie(b.rank, b.due, b.item);
        }
    };
    using Queue = std::set<Key>;

    // Does nothing if it is there.
    void insert(const Target& target, const Key& key) {
        if (!queues_[target].insert(key).second) return;
        ++due_[key.due];
        ++size_;
    }

    // Does nothing if it is not there. By value: what is there may be the argument.
    void erase(Target target, Key key) {
        const auto queue = queues_.find(target);
        if (queue == queues_.end() || queue->second.erase(key) == 0) return;
        if (queue->second.empty()) queues_.erase(queue);
        const auto same = due_.find(key.due);
        if (--same->second == 0) due_.erase(same);
        --size_;
    }

    // What comes first, but for these targets; nullptr if there is nothing.
    const Item* first(const std::set<Target>& passed) const {
        const Key* oldest = nullptr;
        for (const auto& [target, queue] : queues_) {
            if (passed.contains(target)) continue;
            const Key& key = *queue.begin();
            if (oldest == nullptr ||
                std::tie(key.due, key.item) < std::tie(oldest->due, oldest->item)) {
                oldest = &key;
            }
        }
        return oldest == nullptr ? nullptr : &oldest->item;
    }

    // When the item that has waited longest was due.
    std::optional<Instant> oldest() const {
        if (due_.empty()) return std::nullopt;
        return due_.begin()->first;
    }

    std::size_t size() const { return size_; }
    const std::map<Target, Queue>& queues() const { return queues_; }

  private:
    std::map<Target, Queue> queues_;
    std::map<Instant, std::size_t> due_;  // how many were due then
    std::size_t size_ = 0;
};

// The same order in the queue of a worker, an array of `count` entries with room for one more: the
// entry comes before those of later rank, and behind those of the same.
template <class Entry, class RankOf>
void insert_by_rank(Entry* queue, std::size_t count, const Entry& entry, const RankOf& rank_of) {
    Entry* const end = queue + count;
    Entry* const place = std::upper_bound(
        queue, end, entry,
        [&rank_of](const Entry& a, const Entry& b) { return rank_of(a) < rank_of(b); });
    std::copy_backward(place, end, end + 1);
    *place = entry;
}

}  // namespace securatlas::core
