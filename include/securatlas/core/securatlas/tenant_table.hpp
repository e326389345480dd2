// What the risk scores need to know of many tenants (tenant_facts.hpp): of those on a list. Rows of
// other tenants have no place here.
//
// Each process of a parallel plan has a table with the same list. What it has collected is written
// into one piece of memory without pointers, from which another one adds it to its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "securatlas/core/securatlas/tenant_facts.hpp"

namespace securatlas::core {

class TenantTable {
  public:
    // Nothing is known yet of these, of whom each must be on the list once. Not more than 2^31.
    TenantTable(std::vector<Id> tenants, int places, int categories);

    // nullptr: the tenant is not on the list. Rows of one tenant often follow each other, or those
    // of all tenants in the order of the list, so that the one found last and the next ones are
    // found at once.
    TenantFacts* find(const Id& tenant) {
        if (last_ >= tenants_.size() || tenants_[last_] != tenant) {
            if (!step(tenant) && !look_up(tenant)) return nullptr;
            fetch_ahead();
        }
        return &facts_[last_];
    }
    // For one more note of one of these.
    void make_room(TenantFacts& facts) {
        if (!facts.has_room()) add_chunk(facts);
    }

    // For all tenants, as TenantFacts does it.
    void settle();

    // What is known, in the order of the list.
    std::size_t size() const;
    void write(unsigned char* whole) const;
    // A table with the list of what was written, of which nothing is known yet; nullptr: it is
    // malformed. `whole` must be aligned like a double, here and below.
    static std::unique_ptr<TenantTable> like(Bytes whole);
    // Adds what was written; false: it is malformed, or of another catalogue, and what stands
    // before that was added. Of tenants that are not on the list nothing is.
    bool add(Bytes whole);
    // Calls `visit` for each tenant of what was written; false: it is malformed behind those.
    static bool for_each(Bytes whole,
                         const std::function<void(const Id&, const TenantFacts&)>& visit);

    // Calls `visit` for each tenant in the order of the list.
    void for_each(const std::function<void(const Id&, const TenantFacts&)>& visit) const;

    // About so many bytes for each tenant, without notes.
    static std::size_t bytes_of_a_tenant(int places, int categories);

  private:
    bool step(const Id& tenant) {
        constexpr std::size_t kSteps = 4;
        for (std::size_t i = last_ + 1; i < tenants_.size() && i <= last_ + kSteps; ++i) {
            if (tenants_[i] != tenant) continue;
            last_ = i;
            return true;
        }
        return false;
    }
    bool look_up(const Id& tenant);
    void add_chunk(TenantFacts& facts);
    Bytes take(std::size_t size);

    // Has the processor read what the tenants that may come next will need.
    void fetch_ahead() {
        constexpr std::size_t kAhead = 6;
        const std::size_t end = std::min(last_ + kAhead + 1, facts_.size());
        if (fetched_ < last_ || fetched_ > end) fetched_ = last_ + 1;
        for (; fetched_ < end; ++fetched_) {
            if (fetched_ + kAhead < facts_.size()) __builtin_prefetch(&facts_[fetched_ + kAhead]);
            facts_[fetched_].prefetch();
        }
    }

    std::vector<Id> tenants_;
    std::vector<TenantFacts> facts_;  // of these
    // A hash table: 0, or the number of a tenant, from 1. Its size is a power of two.
    std::vector<std::uint32_t> slots_;
    std::size_t last_ = 0;     // the one that was found last
    std::size_t fetched_ = 0;  // those before this one have been fetched
    std::vector<std::unique_ptr<double[]>> memory_;
    Bytes free_;  // of the last of these
};

}  // namespace securatlas::core
