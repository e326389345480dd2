#include "securatlas/core/securatlas/tenant_table.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

namespace securatlas::core {

namespace {

constexpr std::size_t kNotesOfAChunk = 16;
constexpr std::size_t kBytesTaken = std::size_t{1} << 18;

constexpr std::size_t aligned(std::size_t size) {
    return (size + alignof(double) - 1) / alignof(double) * alignof(double);
}

// What was written begins with their number, which is of this size.
using Count = std::uint64_t;

// In front of the facts of a tenant.
struct Entry {
    Id tenant;
    std::uint64_t size;  // of the facts
};

}  // namespace

TenantTable::TenantTable(std::vector<Id> tenants, int places, int categories)
    : tenants_(std::move(tenants)), slots_(std::bit_ceil(2 * tenants_.size() + 1)) {
    // In one piece, so that the blocks of tenants that follow each other do, too.
    const std::size_t size = TenantFacts::block_size(places, categories);
    Bytes blocks = take(tenants_.size() * aligned(size));
    facts_.reserve(tenants_.size());
    const std::size_t mask = slots_.size() - 1;
    for (const Id& tenant : tenants_) {
        facts_.push_back(TenantFacts::make(blocks.first(size), places, categories));
        blocks = blocks.subspan(aligned(size));
        std::size_t at = hash(tenant) & mask;
        while (slots_[at] != 0) at = (at + 1) & mask;
        slots_[at] = static_cast<std::uint32_t>(facts_.size());
    }
}

bool TenantTable::look_up(const Id& tenant) {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t at = hash(tenant) & mask; slots_[at] != 0; at = (at + 1) & mask) {
        const std::size_t found = slots_[at] - 1;
        if (tenants_[found] != tenant) continue;
        last_ = found;
        return true;
    }
    return false;
}

Bytes TenantTable::take(std::size_t size) {
    const std::size_t needed = aligned(size);
    if (free_.size() < needed) {
        const std::size_t taken = std::max(needed, kBytesTaken);
        memory_.emplace_back(new double[taken / sizeof(double)]);
        free_ = {reinterpret_cast<unsigned char*>(memory_.back().get()), taken};
    }
    const Bytes result = free_.first(size);
    free_ = free_.subspan(needed);
    return result;
}

void TenantTable::add_chunk(TenantFacts& facts) {
    facts.add_chunk(take(TenantFacts::chunk_size(kNotesOfAChunk)));
}

void TenantTable::settle() {
    for (TenantFacts& facts : facts_) facts.settle();
}

// ---- between processes -------------------------------------------------------------------------

std::size_t TenantTable::size() const {
    std::size_t total = sizeof(Count);
    for (const TenantFacts& facts : facts_) total += sizeof(Entry) + aligned(facts.size());
    return total;
}

void TenantTable::write(unsigned char* whole) const {
    const Count count = facts_.size();
    std::memcpy(whole, &count, sizeof count);
    whole += sizeof count;
    for (std::size_t i = 0; i < facts_.size(); ++i) {
        const Entry entry{tenants_[i], facts_[i].size()};
        std::memcpy(whole, &entry, sizeof entry);
        whole += sizeof entry;
        facts_[i].write(whole);
        std::memset(whole + entry.size, 0, aligned(entry.size) - entry.size);
        whole += aligned(entry.size);
    }
}

bool TenantTable::for_each(Bytes whole,
                           const std::function<void(const Id&, const TenantFacts&)>& visit) {
    Count count;
    if (whole.size() < sizeof count) return false;
    std::memcpy(&count, whole.data(), sizeof count);
    whole = whole.subspan(sizeof count);
    for (; count > 0; --count) {
        Entry entry;
        if (whole.size() < sizeof entry) return false;
        std::memcpy(&entry, whole.data(), sizeof entry);
        whole = whole.subspan(sizeof entry);
        if (entry.size > whole.size() || aligned(entry.size) > whole.size()) return false;
        const auto facts = TenantFacts::at(whole.first(entry.size));
        if (!facts) return false;
        visit(entry.tenant, *facts);
        whole = whole.subspan(aligned(entry.size));
    }
    return whole.empty();
}

std::unique_ptr<TenantTable> TenantTable::like(Bytes whole) {
    std::vector<Id> tenants;
    int places = 1;
    int categories = 0;
    bool same = true;  // otherwise a table of such blocks could be much larger than the whole
    const bool sound = for_each(whole, [&](const Id& tenant, const TenantFacts& facts) {
        same = same &&
               (tenants.empty() || (places == facts.places() && categories == facts.categories()));
        tenants.push_back(tenant);
        places = facts.places();
        categories = facts.categories();
    });
    if (!sound || !same) return nullptr;
    return std::make_unique<TenantTable>(std::move(tenants), places, categories);
}

bool TenantTable::add(Bytes whole) {
    bool fits = true;
    const bool sound = for_each(whole, [&](const Id& tenant, const TenantFacts& facts) {
        TenantFacts* own = find(tenant);
        if (own == nullptr) return;
        fits = own->add(facts, take(TenantFacts::chunk_size(facts.notes()))) && fits;
    });
    return sound && fits;
}

void TenantTable::for_each(const std::function<void(const Id&, const TenantFacts&)>& visit) const {
    for (std::size_t i = 0; i < facts_.size(); ++i) visit(tenants_[i], facts_[i]);
}

std::size_t TenantTable::bytes_of_a_tenant(int places, int categories) {
    return aligned(TenantFacts::block_size(places, categories)) + sizeof(Id) + sizeof(TenantFacts) +
           3 * sizeof(std::uint32_t);
}

}  // namespace securatlas::core
