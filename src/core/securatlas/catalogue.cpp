#include "securatlas/core/securatlas/catalogue.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <type_traits>

namespace securatlas::core {

// ---- the block: a header, a hash table of controls, frameworks, ends of names, sets, names ------

struct Catalogue::Header {
    std::int32_t places;
    std::int32_t slots;  // a power of two
    std::int32_t frameworks;
    std::int32_t categories;
    std::int64_t sets;
    std::int64_t name_bytes;
};

// With place 0 it is free.
struct Catalogue::Slot {
    Id id;
    std::int32_t place;
    std::int32_t category;  // -1: none
};

// In the order of their ids.
struct Catalogue::Framework {
    Id id;
    std::int32_t first_set;
    std::int32_t sets;
};

namespace {

template <class T>
void append(std::vector<unsigned char>& block, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const std::size_t end = block.size();
    block.resize(end + sizeof value);
    std::memcpy(block.data() + end, &value, sizeof value);
}

template <class T>
std::span<const T> array_at(ConstBytes block, std::size_t offset, std::size_t count) {
    return {reinterpret_cast<const T*>(block.data() + offset), count};
}

}  // namespace

Id read_id(const unsigned char* bytes) {
    Id id;
    std::memcpy(&id, bytes, sizeof id);
    return id;
}

std::vector<unsigned char> Catalogue::make(const std::vector<Control>& controls,
                                           const std::vector<Requirement>& requirements) {
    std::map<Id, std::optional<std::string>> known;
    std::map<std::string, std::int32_t> categories;
    for (const Control& control : controls) {
        auto& category = known[control.id];
        category = std::max(category, std::optional(control.category));
        categories[control.category] = 0;
    }
    std::map<Id, std::map<Id, std::set<Id>>> frameworks;
    for (const Requirement& requirement : requirements) {
        auto& asked = frameworks[requirement.framework][requirement.id];
        if (!requirement.control) continue;
        asked.insert(*requirement.control);
        known.try_emplace(*requirement.control);
    }

    Header header{static_cast<std::int32_t>(known.size() + 1),
                  static_cast<std::int32_t>(std::bit_ceil(2 * known.size() + 1)),
                  static_cast<std::int32_t>(frameworks.size()),
                  static_cast<std::int32_t>(categories.size()),
                  0,
                  0};
    std::vector<std::int32_t> name_ends;
    std::int32_t number = 0;
    for (auto& [name, category] : categories) {
        category = number++;
        header.name_bytes += static_cast<std::int64_t>(name.size());
        name_ends.push_back(static_cast<std::int32_t>(header.name_bytes));
    }
    std::vector<Slot> slots(static_cast<std::size_t>(header.slots));
    std::map<Id, std::int32_t> places;
    for (const auto& [id, category] : known) {
        const auto place = static_cast<std::int32_t>(places.size() + 1);
        places[id] = place;
        std::size_t at = hash(id) & (slots.size() - 1);
        while (slots[at].place != 0) at = (at + 1) & (slots.size() - 1);
        slots[at] = {id, place, category ? categories[*category] : -1};
    }
    std::vector<Framework> entries;
    std::vector<unsigned char> sets;
    for (const auto& [id, own] : frameworks) {
        entries.push_back(
            {id, static_cast<std::int32_t>(header.sets), static_cast<std::int32_t>(own.size())});
        for (const auto& [requirement, asked] : own) {
            std::vector<unsigned char> set(set_size(header.places));
            if (asked.empty()) add_place(set, 0);
            for (const Id& control : asked) add_place(set, places[control]);
            sets.insert(sets.end(), set.begin(), set.end());
        }
        header.sets += static_cast<std::int64_t>(own.size());
    }

    std::vector<unsigned char> block;
    append(block, header);
    for (const Slot& slot : slots) append(block, slot);
    for (const Framework& framework : entries) append(block, framework);
    for (const std::int32_t end : name_ends) append(block, end);
    block.insert(block.end(), sets.begin(), sets.end());
    for (const auto& [name, category] : categories)
        block.insert(block.end(), name.begin(), name.end());
    return block;
}

std::optional<Catalogue> Catalogue::at(ConstBytes block) {
    if (block.size() < sizeof(Header)) return std::nullopt;
    const Catalogue catalogue(block);
    const Header& header = catalogue.header();
    if (header.places < 1 || header.slots < 1 || header.frameworks < 0 || header.categories < 0 ||
        header.sets < 0 || header.name_bytes < 0 || !std::has_single_bit(unsigned(header.slots)) ||
        header.sets > std::numeric_limits<std::int32_t>::max() ||
        header.name_bytes > std::numeric_limits<std::int32_t>::max()) {
        return std::nullopt;
    }
    const std::size_t size = sizeof(Header) + catalogue.slots().size_bytes() +
                             catalogue.frameworks().size_bytes() +
                             catalogue.name_ends().size_bytes() +
                             static_cast<std::size_t>(header.sets) * set_size(header.places) +
                             static_cast<std::size_t>(header.name_bytes);
    if (block.size() != size) return std::nullopt;
    return catalogue;
}

const Catalogue::Header& Catalogue::header() const {
    return *reinterpret_cast<const Header*>(block_.data());
}

std::span<const Catalogue::Slot> Catalogue::slots() const {
    return array_at<Slot>(block_, sizeof(Header), static_cast<std::size_t>(header().slots));
}

std::span<const Catalogue::Framework> Catalogue::frameworks() const {
    return array_at<Framework>(block_, sizeof(Header) + slots().size_bytes(),
                               static_cast<std::size_t>(header().frameworks));
}

std::span<const std::int32_t> Catalogue::name_ends() const {
    return array_at<std::int32_t>(block_,
                                  sizeof(Header) + slots().size_bytes() + frameworks().size_bytes(),
                                  static_cast<std::size_t>(header().categories));
}

// ---- reading -----------------------------------------------------------------------------------

int Catalogue::places() const { return header().places; }

int Catalogue::categories() const { return header().categories; }

std::optional<Catalogue::Place> Catalogue::control(const Id& id) const {
    const auto table = slots();
    const std::size_t mask = table.size() - 1;
    std::size_t at = hash(id) & mask;
    for (std::size_t probes = 0; probes < table.size(); ++probes, at = (at + 1) & mask) {
        const Slot& slot = table[at];
        if (slot.place == 0) break;
        if (slot.id != id) continue;
        return Place{slot.place, slot.category < 0 ? std::nullopt : std::optional(slot.category)};
    }
    return std::nullopt;
}

std::string_view Catalogue::category_name(int category) const {
    const auto ends = name_ends();
    const auto total = static_cast<std::int32_t>(header().name_bytes);
    const auto index = static_cast<std::size_t>(category);
    const std::int32_t end = std::clamp(ends[index], 0, total);
    const std::int32_t begin = index == 0 ? 0 : std::clamp(ends[index - 1], 0, end);
    const ConstBytes names = block_.last(static_cast<std::size_t>(total));
    return {reinterpret_cast<const char*>(names.data()) + begin,
            static_cast<std::size_t>(end - begin)};
}

std::optional<int> Catalogue::framework(const Id& id) const {
    const auto all = frameworks();
    const auto found = std::lower_bound(
        all.begin(), all.end(), id,
        [](const Framework& framework, const Id& wanted) { return framework.id < wanted; });
    if (found == all.end() || found->id != id) return std::nullopt;
    return static_cast<int>(std::distance(all.begin(), found));
}

ConstBytes Catalogue::requirements(int framework) const {
    const auto all = frameworks();
    if (framework < 0 || static_cast<std::size_t>(framework) >= all.size()) return {};
    const Framework& own = all[static_cast<std::size_t>(framework)];
    const std::size_t size = set_size(header().places);
    const auto sets = static_cast<std::size_t>(header().sets);
    const auto first = static_cast<std::size_t>(own.first_set);
    const auto count = static_cast<std::size_t>(own.sets);
    if (first > sets || count > sets - first) return {};
    const std::size_t offset =
        sizeof(Header) + slots().size_bytes() + all.size_bytes() + name_ends().size_bytes();
    return block_.subspan(offset + first * size, count * size);
}

}  // namespace securatlas::core
