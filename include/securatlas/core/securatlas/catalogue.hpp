// The controls and frameworks that the risk scores refer to. They lie in one block of memory
// without pointers, so that a statement can pass them, as a bytea, to each process that works on
// it.
//
// Each control has a place, from 1, which is its bit in sets of controls (control_summary.hpp), and
// each category a number, from 0.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/securatlas/control_summary.hpp"

namespace securatlas::core {

// A UUID.
struct Id {
    std::uint64_t high;
    std::uint64_t low;
    friend auto operator<=>(const Id&, const Id&) = default;
};

// Of the 16 bytes at `bytes`.
Id read_id(const unsigned char* bytes);

// For hash tables in memory: not the same on every machine.
inline std::size_t hash(const Id& id) {
    std::uint64_t mixed = id.high * 0x9E3779B97F4A7C15U ^ id.low;
    mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93U;
    return static_cast<std::size_t>(mixed ^ mixed >> 32);
}

class Catalogue {
  public:
    struct Control {
        Id id;
        std::string category;
    };
    // A requirement of a framework together with one of the controls that it asks for; nullopt: it
    // asks for none.
    struct Requirement {
        Id framework;
        Id id;
        std::optional<Id> control;
    };
    struct Place {
        int place;
        std::optional<int> category;  // nullopt: only a requirement names the control
    };

    // The block for these; a control or requirement may occur more than once. Of different
    // categories of one control the last in the order of texts counts.
    static std::vector<unsigned char> make(const std::vector<Control>& controls,
                                           const std::vector<Requirement>& requirements);
    // The catalogue in a block that is aligned like a double; nullopt: its size is not that of a
    // catalogue. Whatever else is in the block, nothing outside of it is read.
    static std::optional<Catalogue> at(ConstBytes block);

    int places() const;
    int categories() const;
    std::optional<Place> control(const Id& id) const;
    // 0 to categories() - 1.
    std::string_view category_name(int category) const;
    // Nullopt: the framework has no requirements. The number of one is from 0.
    std::optional<int> framework(const Id& id) const;
    // The sets of controls of its requirements, one after the other. A requirement that asks for
    // none has place 0.
    ConstBytes requirements(int framework) const;

  private:
    struct Header;
    struct Slot;
    struct Framework;

    explicit Catalogue(ConstBytes block) : block_(block) {}
    const Header& header() const;
    std::span<const Slot> slots() const;
    std::span<const Framework> frameworks() const;
    std::span<const std::int32_t> name_ends() const;

    ConstBytes block_;
};

}  // namespace securatlas::core
