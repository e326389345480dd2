// A queue in which owners take turns: if one owner pushes many items at once, only the first of
// them comes before an item that another owner pushes next. Items of one owner come by their rank,
// and those of the same rank in the order in which they were pushed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace securatlas::core {

// In each round every owner has one turn, for what is first in its queue then. An owner who has
// nothing left loses its turn, and begins in the round after the one being served: so an idle owner
// does not accumulate turns.
template <class Owner, class Rank, class Item>
class Turns {
    using Items = std::map<std::pair<Rank, std::uint64_t>, Item>;
    using Turn = std::pair<std::uint64_t, std::uint64_t>;  // round, and when its owner began

  public:
    void push(Owner owner, Rank rank, Item item) {
        const std::uint64_t number = ++pushed_;
        Items& items = items_[owner];
        if (items.empty()) turns_.emplace(Turn{round_ + 1, number}, owner);
        items.emplace(std::pair{rank, number}, std::move(item));
        ++size_;
    }

    // Goes through the items in their order, and removes none. Valid until the queue changes.
    class Walk {
      public:
        explicit Walk(const Turns& turns) : left_(turns.size()) {
            for (const auto& [turn, owner] : turns.turns_) {
                const Items& items = turns.items_.at(owner);
                next_.emplace(turn, std::pair{items.begin(), items.end()});
            }
        }

        // The next `count` items, or as many as are left.
        std::vector<Item> next(std::size_t count) {
            std::vector<Item> taken;
            taken.reserve(std::min(count, left_));
            while (taken.size() < count && !next_.empty()) {
                auto turn = next_.extract(next_.begin());
                auto& [item, end] = turn.mapped();
                taken.push_back(item->second);
                if (++item == end) continue;
                ++turn.key().first;
                next_.insert(std::move(turn));
            }
            left_ -= taken.size();
            return taken;
        }

      private:
        using Place = typename Items::const_iterator;
        std::map<Turn, std::pair<Place, Place>> next_;
        std::size_t left_;
    };

    // The first `count` items of a walk; no more than size().
    void remove_first(std::size_t count) {
        size_ -= count;
        for (; count > 0; --count) {
            auto turn = turns_.extract(turns_.begin());
            round_ = turn.key().first;
            const auto items = items_.find(turn.mapped());
            items->second.erase(items->second.begin());
            if (items->second.empty()) {
                items_.erase(items);
            } else {
                ++turn.key().first;
                turns_.insert(std::move(turn));
            }
        }
    }

    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

  private:
    std::map<Turn, Owner> turns_;  // the next one of each owner that has items
    std::unordered_map<Owner, Items> items_;
    std::size_t size_ = 0;
    std::uint64_t round_ = 0;  // of the item removed last
    std::uint64_t pushed_ = 0;
};

}  // namespace securatlas::core
