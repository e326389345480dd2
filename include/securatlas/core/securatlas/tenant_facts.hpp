// What the risk score needs to know of a tenant, collected from rows of all tables in any order. It
// lies in a block of memory without pointers, a part of which is a ControlSummary, and in notes.
//
// Evidence can only be looked up when all rows are there, so that ids of evidence, links to them
// and selected frameworks are noted, in chunks of memory that the caller gives. To be sent
// elsewhere, block and notes are put together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "securatlas/core/securatlas/catalogue.hpp"
#include "securatlas/core/securatlas/control_summary.hpp"
#include "securatlas/core/securatlas/risk_score.hpp"

namespace securatlas::core {

class TenantFacts {
  public:
    // The size of a block for as many places and categories.
    static std::size_t block_size(int places, int categories);
    // Nothing is known yet. It begins its life in that block, which must be aligned like a double.
    static TenantFacts make(Bytes block, int places, int categories);
    // The facts in one piece of memory, as write() leaves them, that is aligned like a double;
    // nullopt: it is of another size than what is in it.
    static std::optional<TenantFacts> at(Bytes whole);
    std::size_t size() const;
    void write(unsigned char* whole) const;

    // The tenant exists.
    void add_tenant(std::optional<double> breach_cost, std::optional<double> annual_revenue);
    // Its score is asked for.
    void ask();
    void add_control(const TenantControl& control);
    // nullopt: NULL. A severity that is not known counts as a bad finding.
    void add_finding(std::optional<std::string_view> severity);

    // Of these each takes a note, for which there must be room.
    void add_evidence(const Id& evidence);         // that is valid
    void add_link(const Id& evidence, int place);  // the evidence proves the control of that place
    // nullopt: a framework without requirements.
    void add_selection(std::optional<int> framework, double weight);
    std::size_t notes() const { return notes_; }
    bool has_room() const { return room_ > 0; }
    // Room for as many bytes of notes as chunk_size() has counted, aligned like a double. The facts
    // do not own it, and use it as long as they exist.
    void add_chunk(Bytes memory);
    static std::size_t chunk_size(std::size_t notes);

    // Has the processor read what adding a row will need.
    void prefetch() const {
        constexpr std::size_t kLine = 64;
        constexpr std::size_t kLines = 4;  // what comes behind them is seldom all needed
        for (std::size_t i = 0; i < kLines; ++i) __builtin_prefetch(block_.data() + i * kLine, 1);
        __builtin_prefetch(next_, 1);
    }

    // All evidence and all links are there: looks them up now and forgets their notes, of which no
    // more may be added.
    void settle();

    // Adds what other rows say, with a chunk of chunk_size(other.notes()) for its notes. False: it
    // is of another catalogue, and nothing was added.
    bool add(const TenantFacts& other, Bytes chunk);

    // Whether the tenant exists and its score is asked for.
    bool is_wanted() const;
    int places() const;
    int categories() const;
    const ControlSummary& controls() const { return controls_; }
    std::int64_t bad_findings() const;
    // `catalogue` must have the same places.
    Posture posture(const Catalogue& catalogue) const;

  private:
    struct Header;
    struct Note;
    struct Chunk;

    TenantFacts(Bytes block, const ControlSummary& controls) : block_(block), controls_(controls) {}
    Header& header() const;
    void add_note(const Note& note);
    void write_notes(unsigned char* to) const;
    void add_proven(Bytes set) const;
    template <class F>
    void for_each_note(F&& function) const;
    std::optional<double> framework_readiness(const Catalogue& catalogue) const;

    // What each note needs comes first, so that it is in one line of the processor's cache.
    unsigned char* next_ = nullptr;  // where the next note goes
    std::uint32_t room_ = 0;         // for how many there is room
    std::uint32_t notes_ = 0;
    Chunk* chunk_ = nullptr;  // the one that has it
    bool is_settled_ = false;
    ConstBytes written_;  // notes of facts that were written, in place of chunks
    Bytes block_;
    ControlSummary controls_;
};

}  // namespace securatlas::core
