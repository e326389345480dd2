// A priority queue of deadlines, an indexed binary heap: each element knows its position, so that a
// deadline can be changed or removed in O(log n), and an element is in the queue at most once.
// Memory: 16 bytes per element in the heap and 4 in the element.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "securatlas/core/time.hpp"

namespace securatlas::core {

// Base class of elements. An element is in at most one queue, and does not move in memory while it
// is.
class TimerNode {
  public:
    TimerNode() = default;
    TimerNode(const TimerNode&) = delete;
    TimerNode& operator=(const TimerNode&) = delete;

  private:
    template <class T>
    friend class TimerQueue;
    static constexpr std::uint32_t kAbsent = UINT32_MAX;
    std::uint32_t position_ = kAbsent;
};

// T is derived from TimerNode. The queue does not own its elements: remove() one before it dies.
template <class T>
class TimerQueue {
  public:
    std::size_t size() const { return heap_.size(); }

    // The earliest deadline; kNever if the queue is empty.
    Instant first_at() const { return heap_.empty() ? kNever : heap_.front().at; }

    // Gives `node` this deadline, whether it has been in the queue or not. kNever removes it.
    void set(T& node, Instant at) {
        if (at == kNever) {
            remove(node);
            return;
        }
        if (place_of(node) == TimerNode::kAbsent) {
            heap_.push_back({at, &node});
            place_of(node) = static_cast<std::uint32_t>(heap_.size() - 1);
        } else {
            heap_[place_of(node)].at = at;
        }
        settle(place_of(node));
    }

    // Does nothing if `node` is not in the queue.
    void remove(T& node) {
        const std::size_t hole = place_of(node);
        if (hole == TimerNode::kAbsent) return;
        place_of(node) = TimerNode::kAbsent;
        const Entry last = heap_.back();
        heap_.pop_back();
        if (hole == heap_.size()) return;
        put(hole, last);
        settle(hole);
    }

    // Removes and returns the element with the earliest deadline. The queue must not be empty.
    T& pop() {
        T& node = *heap_.front().node;
        remove(node);
        return node;
    }

  private:
    struct Entry {
        Instant at;
        T* node;
    };

    static std::uint32_t& place_of(T& node) { return static_cast<TimerNode&>(node).position_; }

    void put(std::size_t place, const Entry& entry) {
        heap_[place] = entry;
        place_of(*entry.node) = static_cast<std::uint32_t>(place);
    }

    // Moves the entry at `place` up or down to where it belongs.
    void settle(std::size_t place) {
        const Entry entry = heap_[place];
        while (place > 0 && entry.at < heap_[(place - 1) / 2].at) {
            put(place, heap_[(place - 1) / 2]);
            place = (place - 1) / 2;
        }
        for (;;) {
            std::size_t child = 2 * place + 1;
            if (child >= heap_.size()) break;
            if (child + 1 < heap_.size() && heap_[child + 1].at < heap_[child].at) ++child;
            if (heap_[child].at >= entry.at) break;
            put(place, heap_[child]);
            place = child;
        }
        put(place, entry);
    }

    std::vector<Entry> heap_;
};

}  // namespace securatlas::core
