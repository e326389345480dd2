// A queue in which owners take turns: if one owner pushes many items at once, only the first of
// them comes before an item that another owner pushes next. Items of one owner keep their order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace securatlas::core {

// Each item is assigned a round when it is pushed: the one after its owner's last item, or after
// the round being served if that is later. So an idle owner does not accumulate turns.
template <class Owner, class Item>
class Turns {
  public:
    void push(Owner owner, Item item) {
        std::uint64_t& last = last_round_.try_emplace(owner, round_).first->second;
        last = std::max(last, round_) + 1;
        items_.emplace(std::pair{last, ++pushed_}, std::move(item));
    }

    // Up to `count` items from the one at `position` on, in their order.
    std::vector<Item> at(std::size_t position, std::size_t count) const {
        std::vector<Item> items;
        if (position >= items_.size()) return items;
        items.reserve(std::min(count, items_.size() - position));
        for (auto item = std::next(items_.begin(), static_cast<std::ptrdiff_t>(position));
             item != items_.end() && items.size() < count; ++item) {
            items.push_back(item->second);
        }
        return items;
    }

    // `count` is no more than size().
    void remove_first(std::size_t count) {
        for (; count > 0; --count) {
            round_ = items_.begin()->first.first;
            items_.erase(items_.begin());
        }
        if (items_.empty()) last_round_.clear();
    }

    std::size_t size() const { return items_.size(); }
    bool empty() const { return items_.empty(); }

  private:
    std::map<std::pair<std::uint64_t, std::uint64_t>, Item> items_;
    std::unordered_map<Owner, std::uint64_t> last_round_;
    std::uint64_t round_ = 0;  // of the item removed last
    std::uint64_t pushed_ = 0;
};

}  // namespace securatlas::core
