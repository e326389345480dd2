#include "securatlas/core/securatlas/control_summary.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <new>
#include <type_traits>

namespace securatlas::core {

namespace {

constexpr double kMaxMaturity = 5.0;

}  // namespace

std::size_t set_size(int places) { return static_cast<std::size_t>(places) / 8 + 1; }

void add_place(Bytes set, int place) {
    if (place < 0 || static_cast<std::size_t>(place) / 8 >= set.size()) return;
    set[static_cast<std::size_t>(place) / 8] |= static_cast<unsigned char>(1U << (place % 8));
}

void add_set(Bytes set, ConstBytes other) {
    assert(set.size() == other.size());
    for (std::size_t i = 0; i < set.size(); ++i) set[i] |= other[i];
}

std::optional<ControlStatus> control_status(std::string_view name) {
    if (name == "implemented") return ControlStatus::implemented;
    if (name == "in_progress") return ControlStatus::in_progress;
    if (name == "not_started") return ControlStatus::not_started;
    if (name == "not_applicable") return ControlStatus::not_applicable;
    return std::nullopt;
}

// ---- the block: a header, a part for each category, three sets ---------------------------------

struct ControlSummary::Part {
    double maturity;
    std::int64_t entries;
};

struct ControlSummary::Header {
    std::int32_t places;
    std::int32_t categories;
    std::int64_t bad_rows;
    Part all;
};

std::size_t ControlSummary::size_of(int places, int categories) {
    static_assert(std::is_trivially_copyable_v<Header> && std::is_trivially_copyable_v<Part>);
    return sizeof(Header) + static_cast<std::size_t>(categories) * sizeof(Part) +
           3 * set_size(places);
}

ControlSummary ControlSummary::make(Bytes block, int places, int categories) {
    assert(block.size() == size_of(places, categories));
    std::memset(block.data(), 0, block.size());
    ::new (block.data()) Header{places, categories, 0, {0.0, 0}};
    return ControlSummary(block);
}

std::optional<ControlSummary> ControlSummary::at(Bytes block) {
    if (block.size() < sizeof(Header)) return std::nullopt;
    const ControlSummary summary(block);
    const Header& header = summary.header();
    if (header.places < 0 || header.categories < 0 ||
        block.size() != size_of(header.places, header.categories)) {
        return std::nullopt;
    }
    return summary;
}

ControlSummary::Header& ControlSummary::header() const {
    return *reinterpret_cast<Header*>(block_.data());
}

std::span<ControlSummary::Part> ControlSummary::parts() const {
    return {reinterpret_cast<Part*>(block_.data() + sizeof(Header)),
            static_cast<std::size_t>(header().categories)};
}

std::size_t ControlSummary::set_bytes() const { return set_size(header().places); }

Bytes ControlSummary::assessed() const {
    return block_.subspan(sizeof(Header) + parts().size_bytes(), set_bytes());
}

Bytes ControlSummary::met() const { return block_.last(2 * set_bytes()).first(set_bytes()); }

Bytes ControlSummary::proven() const { return block_.last(set_bytes()); }

// ---- adding ------------------------------------------------------------------------------------

void ControlSummary::add(const TenantControl& control) {
    const bool applies = control.status && *control.status != ControlStatus::not_applicable;
    if (control.place && control.status &&
        (!applies || *control.status == ControlStatus::implemented)) {
        add_place(met(), *control.place);
    }
    if (control.status && !applies) return;
    // NaN is not in the range.
    const bool sound = applies && control.place && control.category && *control.category >= 0 &&
                       *control.category < header().categories && control.maturity &&
                       *control.maturity >= 0.0 && *control.maturity <= kMaxMaturity;
    if (!sound) {
        ++header().bad_rows;
        return;
    }
    add_place(assessed(), *control.place);
    Part& part = parts()[static_cast<std::size_t>(*control.category)];
    for (Part* sum : {&header().all, &part}) {
        sum->maturity += *control.maturity;
        ++sum->entries;
    }
}

bool ControlSummary::add(const ControlSummary& other) {
    Header& own = header();
    const Header& its = other.header();
    if (own.places != its.places || own.categories != its.categories) return false;
    const auto add_part = [](Part& sum, const Part& more) {
        sum.maturity += more.maturity;
        sum.entries += more.entries;
    };
    own.bad_rows += its.bad_rows;
    add_part(own.all, its.all);
    for (std::size_t i = 0; i < parts().size(); ++i) add_part(parts()[i], other.parts()[i]);
    add_set(assessed(), other.assessed());
    add_set(met(), other.met());
    add_set(proven(), other.proven());
    return true;
}

// ---- reading -----------------------------------------------------------------------------------

int ControlSummary::places() const { return header().places; }

int ControlSummary::categories() const { return header().categories; }

std::int64_t ControlSummary::bad_rows() const { return header().bad_rows; }

std::optional<double> ControlSummary::average_maturity() const {
    const Part& all = header().all;
    if (all.entries == 0) return std::nullopt;
    return all.maturity / static_cast<double>(all.entries);
}

std::optional<double> ControlSummary::average_maturity(int category) const {
    const Part& part = parts()[static_cast<std::size_t>(category)];
    if (part.entries == 0) return std::nullopt;
    return part.maturity / static_cast<double>(part.entries);
}

std::optional<double> ControlSummary::share_in(ConstBytes set) const {
    if (header().all.entries == 0) return std::nullopt;
    const Bytes own = assessed();
    std::int64_t common = 0;
    for (std::size_t i = 0; i < std::min(own.size(), set.size()); ++i) {
        common += std::popcount(static_cast<unsigned char>(own[i] & set[i]));
    }
    return static_cast<double>(common) / static_cast<double>(header().all.entries);
}

int ControlSummary::count_met(ConstBytes requirements) const {
    const Bytes fulfilled = met();
    int count = 0;
    for (; requirements.size() >= fulfilled.size();
         requirements = requirements.subspan(fulfilled.size())) {
        const auto is_in = [](unsigned char asked, unsigned char has) {
            return (asked & ~has) == 0;
        };
        if (std::equal(fulfilled.begin(), fulfilled.end(), requirements.begin(),
                       [&](unsigned char has, unsigned char asked) { return is_in(asked, has); })) {
            ++count;
        }
    }
    return count;
}

}  // namespace securatlas::core
