#include "securatlas/core/securatlas/tenant_facts.hpp"

#include <gtest/gtest.h>

#include <list>

namespace securatlas::core {
namespace {

using Memory = std::vector<double>;

Bytes bytes_of(Memory& memory, std::size_t size) {
    return {reinterpret_cast<unsigned char*>(memory.data()), size};
}

Id id(std::uint64_t number) { return {number, number * 7}; }

// The catalogue of controls 1 to 20 in two categories, with two frameworks of a requirement each.
struct World {
    World() {
        std::vector<Catalogue::Control> controls;
        for (std::uint64_t i = 1; i <= 20; ++i)
            controls.push_back({id(i), i % 2 == 0 ? "even" : "odd"});
        const auto bytes =
            Catalogue::make(controls, {{id(100), id(101), id(1)}, {id(200), id(201), id(2)}});
        memory.resize(bytes.size() / sizeof(double) + 1);
        std::copy(bytes.begin(), bytes.end(), bytes_of(memory, bytes.size()).begin());
        catalogue = Catalogue::at(bytes_of(memory, bytes.size()));
    }
    Memory memory;
    std::optional<Catalogue> catalogue;
};

// Facts with their memory.
struct Owned {
    explicit Owned(const Catalogue& catalogue)
        : block(TenantFacts::block_size(catalogue.places(), catalogue.categories()) / 8 + 1),
          facts(TenantFacts::make(
              bytes_of(block, TenantFacts::block_size(catalogue.places(), catalogue.categories())),
              catalogue.places(), catalogue.categories())) {}

    Bytes chunk(std::size_t notes) {
        const std::size_t size = TenantFacts::chunk_size(notes);
        return bytes_of(chunks.emplace_back(size / sizeof(double) + 1), size);
    }
    TenantFacts& with_room() {
        if (!facts.has_room()) facts.add_chunk(chunk(3));
        return facts;
    }
    void add_control(const Catalogue& catalogue, std::uint64_t number, ControlStatus status) {
        const auto place = catalogue.control(id(number));
        facts.add_control({.place = place->place,
                           .category = place->category,
                           .status = status,
                           .maturity = 2.0});
    }
    void add_link(const Catalogue& catalogue, std::uint64_t evidence, std::uint64_t control) {
        with_room().add_link(id(evidence), catalogue.control(id(control))->place);
    }

    Memory block;
    std::list<Memory> chunks;
    TenantFacts facts;
};

struct Written {
    explicit Written(const TenantFacts& facts)
        : memory(facts.size() / sizeof(double) + 1), size(facts.size()) {
        facts.write(bytes_of(memory, size).data());
    }
    TenantFacts facts() { return TenantFacts::at(bytes_of(memory, size)).value(); }

    Memory memory;
    std::size_t size;
};

TEST(TenantFacts, NothingIsKnown) {
    const World world;
    Owned owned(*world.catalogue);
    EXPECT_FALSE(owned.facts.is_wanted());
    const Posture posture = owned.facts.posture(*world.catalogue);
    EXPECT_FALSE(posture.average_maturity || posture.evidence_share ||
                 posture.framework_readiness || posture.breach_cost || posture.annual_revenue);
    EXPECT_EQ(posture.open_findings.critical + posture.open_findings.low, 0);
}

TEST(TenantFacts, AreWantedIfTheTenantExistsAndIsAskedFor) {
    const World world;
    Owned asked(*world.catalogue);
    Owned existing(*world.catalogue);
    asked.facts.ask();
    existing.facts.add_tenant(5.0, std::nullopt);
    EXPECT_FALSE(asked.facts.is_wanted());
    EXPECT_FALSE(existing.facts.is_wanted());
    ASSERT_TRUE(asked.facts.add(existing.facts, asked.chunk(0)));
    EXPECT_TRUE(asked.facts.is_wanted());
    const Posture posture = asked.facts.posture(*world.catalogue);
    EXPECT_EQ(posture.breach_cost, 5.0);
    EXPECT_FALSE(posture.annual_revenue);
}

TEST(TenantFacts, CountFindingsBySeverity) {
    const World world;
    Owned owned(*world.catalogue);
    for (const char* severity :
         {"critical", "high", "high", "medium", "low", "low", "low", "odd", ""}) {
        owned.facts.add_finding(severity);
    }
    owned.facts.add_finding(std::nullopt);
    const FindingCounts counts = owned.facts.posture(*world.catalogue).open_findings;
    EXPECT_EQ(counts.critical, 1);
    EXPECT_EQ(counts.high, 2);
    EXPECT_EQ(counts.medium, 1);
    EXPECT_EQ(counts.low, 3);
    EXPECT_EQ(owned.facts.bad_findings(), 3);
}

TEST(TenantFacts, AControlIsProvenByALinkToValidEvidence) {
    const World world;
    const Catalogue& catalogue = *world.catalogue;
    Owned owned(catalogue);
    for (std::uint64_t i = 1; i <= 8; ++i)
        owned.add_control(catalogue, i, ControlStatus::in_progress);
    owned.add_link(catalogue, 1000, 1);  // in any order
    for (std::uint64_t i = 1000; i < 1020; i += 2) owned.with_room().add_evidence(id(i));
    owned.add_link(catalogue, 1002, 2);
    owned.add_link(catalogue, 1004, 2);  // twice
    owned.add_link(catalogue, 1001, 3);  // not valid
    owned.add_link(catalogue, 1006, 9);  // a control that the tenant does not have
    EXPECT_DOUBLE_EQ(owned.facts.posture(catalogue).evidence_share.value(), 2.0 / 8);
    EXPECT_EQ(owned.facts.notes(), 15U);
}

TEST(TenantFacts, ReadinessIsAveragedByWeight) {
    const World world;
    const Catalogue& catalogue = *world.catalogue;
    Owned owned(catalogue);
    owned.add_control(catalogue, 1, ControlStatus::implemented);
    owned.with_room().add_selection(catalogue.framework(id(100)), 3.0);
    owned.with_room().add_selection(catalogue.framework(id(200)), 2.0);
    owned.with_room().add_selection(std::nullopt, 1.0);
    EXPECT_DOUBLE_EQ(owned.facts.posture(catalogue).framework_readiness.value(), 50.0);
    Owned weightless(catalogue);
    weightless.with_room().add_selection(catalogue.framework(id(100)), 0.0);
    EXPECT_FALSE(weightless.facts.posture(catalogue).framework_readiness);
}

// Rows are dealt out to three processes, whose facts are written, read and united.
TEST(TenantFacts, PartsAddUpToTheWhole) {
    const World world;
    const Catalogue& catalogue = *world.catalogue;
    Owned whole(catalogue);
    std::list<Owned> parts;
    for (int i = 0; i < 3; ++i) parts.emplace_back(catalogue);
    std::uint64_t row = 0;
    const auto both = [&](const auto& add) {
        add(whole);
        add(*std::next(parts.begin(), static_cast<std::ptrdiff_t>(row++ % 3)));
    };
    both([](Owned& to) { to.facts.ask(); });
    both([](Owned& to) { to.facts.add_tenant(std::nullopt, 1e6); });
    for (std::uint64_t i = 1; i <= 20; ++i) {
        both([&](Owned& to) {
            to.add_control(catalogue, i,
                           i % 3 == 0 ? ControlStatus::implemented : ControlStatus::in_progress);
        });
        both([&](Owned& to) { to.with_room().add_evidence(id(1000 + i * 2)); });
        both([&](Owned& to) { to.add_link(catalogue, 1000 + i * 3, i); });
        both([&](Owned& to) { to.facts.add_finding(i % 2 == 0 ? "high" : "odd"); });
    }
    both([&](Owned& to) { to.with_room().add_selection(catalogue.framework(id(100)), 2.0); });
    Owned united(catalogue);
    for (Owned& part : parts) {
        Written sent(part.facts);
        const TenantFacts received = sent.facts();
        ASSERT_TRUE(united.facts.add(received, united.chunk(received.notes())));
        united.with_room().add_evidence(id(1));
    }
    Written last(united.facts);
    const TenantFacts facts = last.facts();
    EXPECT_TRUE(facts.is_wanted());
    EXPECT_EQ(facts.notes(), whole.facts.notes() + 3);
    EXPECT_EQ(facts.bad_findings(), 10);
    const Posture expected = whole.facts.posture(catalogue);
    const Posture found = facts.posture(catalogue);
    EXPECT_GT(expected.evidence_share.value(), 0.1);
    EXPECT_EQ(found.evidence_share, expected.evidence_share);
    EXPECT_EQ(found.average_maturity, expected.average_maturity);
    EXPECT_EQ(found.framework_readiness, expected.framework_readiness);
    EXPECT_EQ(found.open_findings.high, 10);
    EXPECT_EQ(found.annual_revenue, 1e6);
    EXPECT_FALSE(found.breach_cost);
}

TEST(TenantFacts, OfAnotherCatalogueAreNotAdded) {
    const World world;
    Owned owned(*world.catalogue);
    Memory memory(100);
    const TenantFacts other =
        TenantFacts::make(bytes_of(memory, TenantFacts::block_size(3, 1)), 3, 1);
    EXPECT_FALSE(owned.facts.add(other, owned.chunk(0)));
}

TEST(TenantFacts, MemoryOfAnotherSizeHasNone) {
    const World world;
    Owned owned(*world.catalogue);
    owned.with_room().add_evidence(id(1));
    Written written(owned.facts);
    EXPECT_TRUE(TenantFacts::at(bytes_of(written.memory, written.size)));
    EXPECT_FALSE(TenantFacts::at(bytes_of(written.memory, written.size - 1)));
    EXPECT_FALSE(TenantFacts::at(bytes_of(written.memory, 8)));
}

}  // namespace
}  // namespace securatlas::core
