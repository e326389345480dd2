#include "securatlas/core/securatlas/tenant_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace securatlas::core {
namespace {

constexpr int kPlaces = 20;
constexpr int kCategories = 2;

Id id(std::uint64_t number) { return {number, number * 7}; }

std::vector<Id> ids(std::uint64_t count) {
    std::vector<Id> result;
    for (std::uint64_t i = 1; i <= count; ++i) result.push_back(id(i));
    return result;
}

// What a table has written.
struct Written {
    explicit Written(const TenantTable& table)
        : size(table.size()), memory(size / sizeof(double) + 1) {
        table.write(bytes().data());
    }
    Bytes bytes() { return {reinterpret_cast<unsigned char*>(memory.data()), size}; }

    std::size_t size;
    std::vector<double> memory;
};

void add_evidence(TenantTable& table, std::uint64_t tenant, std::uint64_t evidence) {
    TenantFacts& facts = *table.find(id(tenant));
    table.make_room(facts);
    facts.add_evidence(id(evidence));
}

void add_link(TenantTable& table, std::uint64_t tenant, std::uint64_t evidence, int place) {
    TenantFacts& facts = *table.find(id(tenant));
    table.make_room(facts);
    facts.add_link(id(evidence), place);
}

void add_control(TenantTable& table, std::uint64_t tenant, int place) {
    table.find(id(tenant))
        ->add_control(
            {.place = place, .category = 0, .status = ControlStatus::in_progress, .maturity = 2.0});
}

// The share of the controls of each tenant that are proven.
std::vector<std::optional<double>> shares(const TenantTable& table) {
    std::vector<Catalogue::Control> controls;
    for (std::uint64_t i = 1; i < kPlaces; ++i) controls.push_back({id(i), i % 2 == 0 ? "a" : "b"});
    const auto block = Catalogue::make(controls, {});
    std::vector<double> memory(block.size() / sizeof(double) + 1);
    std::copy(block.begin(), block.end(), reinterpret_cast<unsigned char*>(memory.data()));
    const auto catalogue =
        Catalogue::at({reinterpret_cast<unsigned char*>(memory.data()), block.size()});
    std::vector<std::optional<double>> result;
    table.for_each([&](const Id&, const TenantFacts& facts) {
        result.push_back(facts.posture(*catalogue).evidence_share);
    });
    return result;
}

TEST(TenantTable, FindsTenantsInAnyOrder) {
    constexpr std::uint64_t kCount = 1000;
    TenantTable table(ids(kCount), kPlaces, kCategories);
    std::vector<std::int64_t> expected(kCount);
    const auto look = [&](std::uint64_t tenant) {
        TenantFacts* facts = table.find(id(tenant));
        ASSERT_NE(facts, nullptr) << tenant;
        facts->add_finding("odd");
        ++expected[tenant - 1];
    };
    for (std::uint64_t i = 1; i <= kCount; ++i) look(i);
    for (std::uint64_t i = 1; i <= kCount; i += 3) look(i);
    for (std::uint64_t i = kCount; i >= 1; --i) look(i);
    std::mt19937_64 random(42);
    for (int i = 0; i < 5000; ++i) look(1 + random() % kCount);
    std::uint64_t tenants = 0;
    table.for_each([&](const Id& tenant, const TenantFacts& facts) {
        EXPECT_EQ(tenant, id(tenants + 1));
        EXPECT_EQ(facts.bad_findings(), expected[tenants++]);
    });
    EXPECT_EQ(tenants, kCount);
}

TEST(TenantTable, HasNoPlaceForOthers) {
    TenantTable table(ids(10), kPlaces, kCategories);
    EXPECT_EQ(table.find(id(11)), nullptr);
    ASSERT_NE(table.find(id(10)), nullptr);
    EXPECT_EQ(table.find(id(0)), nullptr);
    EXPECT_NE(table.find(id(10)), nullptr);
    TenantTable empty({}, kPlaces, kCategories);
    EXPECT_EQ(empty.find(id(1)), nullptr);
    Written written(empty);
    ASSERT_NE(TenantTable::like(written.bytes()), nullptr);
    EXPECT_EQ(TenantTable::like(written.bytes())->find(id(1)), nullptr);
}

// Two processes read rows of both kinds, and a third one what they have written.
TEST(TenantTable, PartsAddUpToTheWhole) {
    TenantTable whole(ids(30), kPlaces, kCategories);
    TenantTable parts[] = {{ids(30), kPlaces, kCategories}, {ids(30), kPlaces, kCategories}};
    std::mt19937_64 random(7);
    for (int i = 0; i < 3000; ++i) {
        const std::uint64_t tenant = 1 + random() % 30;
        const std::uint64_t evidence = tenant * 100 + random() % 60;
        const int place = 1 + static_cast<int>(random() % (kPlaces - 1));
        const auto kind = random() % 3;
        for (TenantTable* table : {&whole, &parts[random() % 2]}) {
            if (kind == 0) add_control(*table, tenant, place);
            if (kind == 1) add_link(*table, tenant, evidence, place);
            if (kind == 2) add_evidence(*table, tenant, evidence);
        }
    }
    const auto expected = shares(whole);
    std::unique_ptr<TenantTable> united;
    for (const TenantTable& part : parts) {
        Written written(part);
        if (!united) united = TenantTable::like(written.bytes());
        ASSERT_NE(united, nullptr);
        ASSERT_TRUE(united->add(written.bytes()));
    }
    EXPECT_EQ(shares(*united), expected);
    EXPECT_GT(*expected[0], 0.1);
    EXPECT_LT(*expected[0], 1.0);
    const std::size_t noted = united->size();
    united->settle();
    EXPECT_EQ(shares(*united), expected);
    EXPECT_LT(united->size(), noted / 3);
}

// Evidence and links are read by one process, controls by another.
TEST(TenantTable, SettledEvidenceIsAddedToControls) {
    TenantTable controls(ids(2), kPlaces, kCategories);
    TenantTable evidence(ids(2), kPlaces, kCategories);
    for (int place = 1; place <= 4; ++place) add_control(controls, 1, place);
    add_link(evidence, 1, 100, 1);
    add_link(evidence, 1, 101, 2);
    add_link(evidence, 1, 102, 9);  // a control that the tenant does not have
    add_evidence(evidence, 1, 100);
    add_evidence(evidence, 1, 102);
    TenantFacts& facts = *evidence.find(id(1));
    evidence.make_room(facts);
    facts.add_selection(std::nullopt, 1.0);
    evidence.settle();
    EXPECT_EQ(facts.notes(), 1U);  // that of the framework
    evidence.settle();
    for (TenantTable* first : {&controls, &evidence}) {
        Written one(*first);
        Written other(first == &controls ? evidence : controls);
        const auto united = TenantTable::like(one.bytes());
        ASSERT_TRUE(united->add(one.bytes()) && united->add(other.bytes()));
        EXPECT_EQ(shares(*united), (std::vector<std::optional<double>>{0.25, std::nullopt}));
        EXPECT_EQ(united->find(id(1))->notes(), 1U);
    }
}

TEST(TenantTable, MalformedMemoryHasNone) {
    TenantTable table(ids(3), kPlaces, kCategories);
    add_evidence(table, 2, 1);
    Written written(table);
    const auto nothing = [](const Id&, const TenantFacts&) {};
    EXPECT_TRUE(TenantTable::for_each(written.bytes(), nothing));
    for (std::size_t size = 0; size < written.size; size += 4) {
        EXPECT_FALSE(TenantTable::for_each(written.bytes().first(size), nothing));
        EXPECT_EQ(TenantTable::like(written.bytes().first(size)), nullptr);
    }
    EXPECT_FALSE(table.add(written.bytes().first(8)));
    TenantTable other(ids(3), kPlaces + 8, kCategories);
    EXPECT_FALSE(other.add(written.bytes()));
}

// One large block must not become a table of large ones.
TEST(TenantTable, BlocksOfDifferentSizesAreMalformed) {
    TenantTable small(ids(1), kPlaces, kCategories);
    TenantTable large(ids(1), 80000, kCategories);
    Written first(small);
    Written second(large);
    std::vector<double> memory(first.memory);
    memory.resize((first.size + second.size - sizeof(std::uint64_t)) / sizeof(double));
    auto* bytes = reinterpret_cast<unsigned char*>(memory.data());
    std::copy(second.bytes().begin() + sizeof(std::uint64_t), second.bytes().end(),
              bytes + first.size);
    const std::uint64_t count = 2;
    std::copy_n(reinterpret_cast<const unsigned char*>(&count), sizeof count, bytes);
    const Bytes both(bytes, memory.size() * sizeof(double));
    EXPECT_TRUE(TenantTable::for_each(both, [](const Id&, const TenantFacts&) {}));
    EXPECT_EQ(TenantTable::like(both), nullptr);
}

}  // namespace
}  // namespace securatlas::core
