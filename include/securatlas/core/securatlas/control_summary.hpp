// What the risk score needs to know of the controls of a tenant, added up row by row: how mature
// they are, by category, and which of them are assessed, which are met, and which are proven.
//
// A summary lies in one block of memory without pointers, so that an aggregate can keep it as a
// bytea, copy it, and send it from a parallel worker to its leader. The classes here look at
// memory that somebody else owns.
//
// A set of controls is a bit string: each control has a place in it. Place 0 belongs to no control,
// and so is never in a set of controls that are met.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace securatlas::core {

using Bytes = std::span<unsigned char>;
using ConstBytes = std::span<const unsigned char>;

// The size of a set with room for the places below `places` (at least 0).
std::size_t set_size(int places);
// Does nothing if the set has no such place.
void add_place(Bytes set, int place);
// Adds all of `other` to `set`, which must have the same size.
void add_set(Bytes set, ConstBytes other);

enum class ControlStatus { not_started, in_progress, implemented, not_applicable };

// nullopt: it is none.
std::optional<ControlStatus> control_status(std::string_view name);

// One row of tenant_controls. nullopt: NULL or unknown.
struct TenantControl {
    std::optional<int> place;
    std::optional<int> category;  // nullopt: the control is not in the catalogue
    std::optional<ControlStatus> status;
    std::optional<double> maturity;  // 0 to 5; with any other value the row is left out
};

class ControlSummary {
  public:
    // The block of a summary of `places` and `categories`, both at least 0, must have that many
    // bytes, and be aligned like a double.
    static std::size_t size_of(int places, int categories);
    // An empty summary, which begins its life in that block.
    static ControlSummary make(Bytes block, int places, int categories);
    // The summary in a block; nullopt: the block is of another size than the summary in it.
    static std::optional<ControlSummary> at(Bytes block);

    // Adds a row. What is left out counts as a bad row; a control that is not applicable is none.
    void add(const TenantControl& control);
    // Adds the rows of another summary; false: it has other places or categories, and nothing was
    // added.
    bool add(const ControlSummary& other);

    int places() const;
    int categories() const;
    std::int64_t bad_rows() const;
    // Of the assessed controls; nullopt: there are none.
    std::optional<double> average_maturity() const;  // 0 to 5
    // Of one category, 0 to categories() - 1.
    std::optional<double> average_maturity(int category) const;
    // The set of controls that have valid evidence, assessed or not, which its user adds.
    Bytes proven() const;
    // The share of the assessed controls that is in the set, 0 to 1; nullopt: none is assessed.
    std::optional<double> share_in(ConstBytes set) const;
    // Of sets that follow each other in `requirements`, the number of those whose controls are all
    // implemented or not applicable.
    int count_met(ConstBytes requirements) const;
    // The size of one of these sets.
    std::size_t set_bytes() const;

  private:
    struct Header;
    struct Part;

    explicit ControlSummary(Bytes block) : block_(block) {}
    Header& header() const;
    std::span<Part> parts() const;
    Bytes assessed() const;
    Bytes met() const;

    Bytes block_;
};

}  // namespace securatlas::core
