#include "securatlas/core/securatlas/tenant_facts.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <iterator>
#include <new>
#include <type_traits>
#include <vector>

namespace securatlas::core {

namespace {

constexpr std::array<std::string_view, 4> kSeverities = {"critical", "high", "medium", "low"};

}  // namespace

// ---- the block, which is a header and a summary of controls, and the notes -------------------

struct TenantFacts::Header {
    std::int64_t open_findings[kSeverities.size()];
    std::int64_t bad_findings;
    double breach_cost;
    double annual_revenue;
    std::uint32_t written_notes;  // in memory that write() has filled
    bool exists;
    bool is_asked_for;
    bool has_breach_cost;
    bool has_annual_revenue;
};

// Its number says what it is of. Not aligned in memory.
struct TenantFacts::Note {
    static constexpr std::int32_t kEvidence = -1;
    static constexpr std::int32_t kNoFramework = -2;
    // That of a framework is less than that by one and its number; the others are places of
    // controls.

    static constexpr std::size_t kSize = sizeof(Id) + sizeof(std::int32_t);

    Id id;  // or a weight, in its first bytes
    std::int32_t number;

    static Note weight(double weight, std::int32_t number) {
        Note note{{0, 0}, number};
        std::memcpy(&note.id.high, &weight, sizeof weight);
        return note;
    }
    bool is_weight() const { return number <= kNoFramework; }
    double weight() const {
        double result;
        std::memcpy(&result, &id.high, sizeof result);
        return result;
    }
    static Note read(const unsigned char* bytes) {
        Note note;
        note.id = read_id(bytes);
        std::memcpy(&note.number, bytes + sizeof note.id, sizeof note.number);
        return note;
    }
    void write(unsigned char* bytes) const {
        std::memcpy(bytes, &id, sizeof id);
        std::memcpy(bytes + sizeof id, &number, sizeof number);
    }
};

// Its notes follow it.
struct TenantFacts::Chunk {
    Chunk* previous;
    std::size_t notes;  // that it has; of the last chunk not yet counted
    std::size_t capacity;

    unsigned char* begin() { return reinterpret_cast<unsigned char*>(this + 1); }
};

std::size_t TenantFacts::block_size(int places, int categories) {
    static_assert(std::is_trivially_copyable_v<Header> && alignof(Header) == alignof(double));
    return sizeof(Header) + ControlSummary::size_of(places, categories);
}

std::size_t TenantFacts::chunk_size(std::size_t notes) {
    return sizeof(Chunk) + notes * Note::kSize;
}

TenantFacts TenantFacts::make(Bytes block, int places, int categories) {
    assert(block.size() == block_size(places, categories));
    ::new (block.data()) Header{};
    return {block, ControlSummary::make(block.subspan(sizeof(Header)), places, categories)};
}

std::optional<TenantFacts> TenantFacts::at(Bytes whole) {
    if (whole.size() < sizeof(Header)) return std::nullopt;
    const auto count =
        static_cast<std::size_t>(reinterpret_cast<const Header*>(whole.data())->written_notes);
    if (count > (whole.size() - sizeof(Header)) / Note::kSize) return std::nullopt;
    const Bytes notes = whole.last(count * Note::kSize);
    const Bytes block = whole.first(whole.size() - notes.size());
    const auto controls = ControlSummary::at(block.subspan(sizeof(Header)));
    if (!controls) return std::nullopt;
    TenantFacts facts(block, *controls);
    facts.notes_ = static_cast<std::uint32_t>(count);
    facts.written_ = notes;
    return facts;
}

std::size_t TenantFacts::size() const { return block_.size() + notes_ * Note::kSize; }

void TenantFacts::write(unsigned char* whole) const {
    Header& own = *::new (whole) Header(header());
    own.written_notes = notes_;
    std::memcpy(whole + sizeof own, block_.data() + sizeof own, block_.size() - sizeof own);
    write_notes(whole + block_.size());
}

void TenantFacts::write_notes(unsigned char* to) const {
    if (is_settled_) {
        for_each_note([&to](const Note& note) {
            note.write(to);
            to += Note::kSize;
        });
        return;
    }
    const auto append = [&to](const unsigned char* from, std::size_t notes) {
        if (notes > 0) std::memcpy(to, from, notes * Note::kSize);
        to += notes * Note::kSize;
    };
    append(written_.data(), written_.size() / Note::kSize);
    for (Chunk* chunk = chunk_; chunk != nullptr; chunk = chunk->previous) {
        append(chunk->begin(), chunk == chunk_ ? chunk->capacity - room_ : chunk->notes);
    }
}

template <class F>
void TenantFacts::for_each_note(F&& function) const {
    const auto visit = [&function, this](const unsigned char* begin, std::size_t notes) {
        for (std::size_t i = 0; i < notes; ++i) {
            const Note note = Note::read(begin + i * Note::kSize);
            if (!is_settled_ || note.is_weight()) function(note);
        }
    };
    visit(written_.data(), written_.size() / Note::kSize);
    for (Chunk* chunk = chunk_; chunk != nullptr; chunk = chunk->previous) {
        visit(chunk->begin(), chunk == chunk_ ? chunk->capacity - room_ : chunk->notes);
    }
}

TenantFacts::Header& TenantFacts::header() const {
    return *reinterpret_cast<Header*>(block_.data());
}

// ---- adding ------------------------------------------------------------------------------------

void TenantFacts::add_tenant(std::optional<double> breach_cost,
                             std::optional<double> annual_revenue) {
    Header& own = header();
    own.exists = true;
    own.has_breach_cost = breach_cost.has_value();
    own.breach_cost = breach_cost.value_or(0.0);
    own.has_annual_revenue = annual_revenue.has_value();
    own.annual_revenue = annual_revenue.value_or(0.0);
}

void TenantFacts::ask() { header().is_asked_for = true; }

void TenantFacts::add_control(const TenantControl& control) { controls_.add(control); }

void TenantFacts::add_finding(std::optional<std::string_view> severity) {
    const auto* known =
        severity ? std::find(kSeverities.begin(), kSeverities.end(), *severity) : kSeverities.end();
    if (known == kSeverities.end()) {
        ++header().bad_findings;
    } else {
        ++header().open_findings[std::distance(kSeverities.begin(), known)];
    }
}

void TenantFacts::add_note(const Note& note) {
    assert(has_room() && !is_settled_);
    note.write(next_);
    next_ += Note::kSize;
    --room_;
    ++notes_;
}

void TenantFacts::add_evidence(const Id& evidence) { add_note({evidence, Note::kEvidence}); }

void TenantFacts::add_link(const Id& evidence, int place) {
    assert(place >= 0);
    add_note({evidence, place});
}

void TenantFacts::add_selection(std::optional<int> framework, double weight) {
    add_note(
        Note::weight(weight, framework ? Note::kNoFramework - 1 - *framework : Note::kNoFramework));
}

void TenantFacts::add_chunk(Bytes memory) {
    assert(memory.size() >= sizeof(Chunk));
    if (chunk_ != nullptr) chunk_->notes = chunk_->capacity - room_;
    const std::size_t capacity = (memory.size() - sizeof(Chunk)) / Note::kSize;
    chunk_ = ::new (memory.data()) Chunk{chunk_, 0, capacity};
    next_ = chunk_->begin();
    room_ = static_cast<std::uint32_t>(capacity);
}

void TenantFacts::settle() {
    if (is_settled_) return;
    add_proven(controls_.proven());
    std::uint32_t weights = 0;
    for_each_note([&weights](const Note& note) { weights += note.is_weight() ? 1 : 0; });
    is_settled_ = true;
    notes_ = weights;
}

bool TenantFacts::add(const TenantFacts& other, Bytes chunk) {
    const Header& its = other.header();
    if (!controls_.add(other.controls_)) return false;
    if (its.exists) {
        add_tenant(its.has_breach_cost ? std::optional(its.breach_cost) : std::nullopt,
                   its.has_annual_revenue ? std::optional(its.annual_revenue) : std::nullopt);
    }
    Header& own = header();
    own.is_asked_for |= its.is_asked_for;
    for (std::size_t i = 0; i < kSeverities.size(); ++i) {
        own.open_findings[i] += its.open_findings[i];
    }
    own.bad_findings += its.bad_findings;
    add_chunk(chunk);
    assert(room_ >= other.notes_);
    other.write_notes(next_);
    next_ += other.notes_ * Note::kSize;
    room_ -= other.notes_;
    notes_ += other.notes_;
    return true;
}

// ---- reading -----------------------------------------------------------------------------------

bool TenantFacts::is_wanted() const { return header().exists && header().is_asked_for; }

int TenantFacts::places() const { return controls_.places(); }

int TenantFacts::categories() const { return controls_.categories(); }

std::int64_t TenantFacts::bad_findings() const { return header().bad_findings; }

void TenantFacts::add_proven(Bytes set) const {
    std::vector<Id> evidence;
    evidence.reserve(notes_);
    for_each_note([&evidence](const Note& note) {
        if (note.number == Note::kEvidence) evidence.push_back(note.id);
    });
    std::sort(evidence.begin(), evidence.end());
    for_each_note([&](const Note& note) {
        if (note.number >= 0 && std::binary_search(evidence.begin(), evidence.end(), note.id)) {
            add_place(set, note.number);
        }
    });
}

std::optional<double> TenantFacts::framework_readiness(const Catalogue& catalogue) const {
    double weights = 0.0;
    double sum = 0.0;
    for_each_note([&](const Note& note) {
        if (!note.is_weight()) return;
        weights += note.weight();
        const ConstBytes sets = catalogue.requirements(Note::kNoFramework - 1 - note.number);
        const std::size_t count = sets.size() / controls_.set_bytes();
        if (count == 0) return;
        sum += 100.0 * controls_.count_met(sets) / static_cast<double>(count) * note.weight();
    });
    if (weights == 0.0) return std::nullopt;
    return sum / weights;
}

Posture TenantFacts::posture(const Catalogue& catalogue) const {
    assert(catalogue.places() == places());
    const Header& own = header();
    const Bytes known = controls_.proven();
    std::vector<unsigned char> proven(known.begin(), known.end());
    add_proven(proven);
    return {
        .average_maturity = controls_.average_maturity(),
        .evidence_share = controls_.share_in(proven),
        .framework_readiness = framework_readiness(catalogue),
        .open_findings = {own.open_findings[0], own.open_findings[1], own.open_findings[2],
                          own.open_findings[3]},
        .breach_cost = own.has_breach_cost ? std::optional(own.breach_cost) : std::nullopt,
        .annual_revenue = own.has_annual_revenue ? std::optional(own.annual_revenue) : std::nullopt,
    };
}

}  // namespace securatlas::core
