#include "securatlas/core/securatlas/catalogue.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace securatlas::core {
namespace {

// Owns the memory of a block; doubles, for their alignment.
struct Block {
    explicit Block(const std::vector<unsigned char>& bytes)
        : memory(bytes.size() / sizeof(double) + 1), size(bytes.size()) {
        std::memcpy(memory.data(), bytes.data(), size);
    }
    unsigned char* data() { return reinterpret_cast<unsigned char*>(memory.data()); }
    ConstBytes bytes() { return {data(), size}; }
    Catalogue catalogue() { return Catalogue::at(bytes()).value(); }

    std::vector<double> memory;
    std::size_t size;
};

Id id(std::uint64_t number) { return {0, number << 56}; }

TEST(Catalogue, KnowsControlsByTheirIds) {
    std::vector<Catalogue::Control> controls;
    for (std::uint64_t i = 1; i <= 100; ++i) {
        controls.push_back({id(i), "category " + std::to_string(i % 3)});
    }
    Block block(Catalogue::make(controls, {}));
    const Catalogue catalogue = block.catalogue();
    EXPECT_EQ(catalogue.places(), 101);
    ASSERT_EQ(catalogue.categories(), 3);
    std::vector<bool> seen(101);
    for (std::uint64_t i = 1; i <= 100; ++i) {
        const auto place = catalogue.control(id(i));
        ASSERT_TRUE(place && place->category);
        EXPECT_EQ(catalogue.category_name(*place->category), "category " + std::to_string(i % 3));
        ASSERT_TRUE(place->place >= 1 && place->place <= 100);
        EXPECT_FALSE(seen[static_cast<std::size_t>(place->place)]);
        seen[static_cast<std::size_t>(place->place)] = true;
    }
    EXPECT_FALSE(catalogue.control(id(101)));
    EXPECT_FALSE(catalogue.control({1, 0}));
}

TEST(Catalogue, OfNothingKnowsNothing) {
    Block block(Catalogue::make({}, {}));
    EXPECT_EQ(block.catalogue().places(), 1);
    EXPECT_EQ(block.catalogue().categories(), 0);
    EXPECT_FALSE(block.catalogue().control({0, 0}));
    EXPECT_FALSE(block.catalogue().framework({0, 0}));
}

TEST(Catalogue, OfTwoCategoriesOfAControlTheLastCounts) {
    Block block(Catalogue::make({{id(1), "b"}, {id(1), "c"}, {id(1), "a"}}, {}));
    const auto place = block.catalogue().control(id(1));
    ASSERT_TRUE(place && place->category);
    EXPECT_EQ(block.catalogue().category_name(*place->category), "c");
}

TEST(Catalogue, HasASetOfControlsForEachRequirement) {
    Block block(Catalogue::make({{id(1), "a"}}, {{id(9), id(1), id(1)},
                                                 {id(9), id(1), id(2)},
                                                 {id(9), id(2), std::nullopt},
                                                 {id(8), id(3), id(1)}}));
    const Catalogue catalogue = block.catalogue();
    const auto named = catalogue.control(id(2));
    ASSERT_TRUE(named);
    EXPECT_FALSE(named->category);
    const auto framework = catalogue.framework(id(9));
    ASSERT_TRUE(framework);
    EXPECT_FALSE(catalogue.framework(id(7)));
    const ConstBytes sets = catalogue.requirements(*framework);
    const std::size_t size = set_size(catalogue.places());
    ASSERT_EQ(sets.size(), 2 * size);
    std::vector<unsigned char> both(size);
    add_place(both, catalogue.control(id(1))->place);
    add_place(both, named->place);
    std::vector<unsigned char> none(size);
    add_place(none, 0);
    EXPECT_EQ(std::vector(sets.begin(), sets.begin() + static_cast<std::ptrdiff_t>(size)), both);
    EXPECT_EQ(std::vector(sets.begin() + static_cast<std::ptrdiff_t>(size), sets.end()), none);
    EXPECT_EQ(catalogue.requirements(*catalogue.framework(id(8))).size(), size);
    EXPECT_TRUE(catalogue.requirements(-1).empty());
    EXPECT_TRUE(catalogue.requirements(2).empty());
}

TEST(Catalogue, ABlockOfAnotherSizeIsNone) {
    const auto bytes = Catalogue::make({{id(1), "a"}}, {{id(9), id(1), id(1)}});
    Block block(bytes);
    EXPECT_FALSE(Catalogue::at(block.bytes().first(bytes.size() - 1)));
    EXPECT_FALSE(Catalogue::at(block.bytes().first(8)));
}

// Whatever is in it: the sanitizers look on.
TEST(Catalogue, NothingOutsideOfTheBlockIsRead) {
    const auto bytes = Catalogue::make({{id(1), "a"}, {id(2), "bc"}}, {{id(9), id(1), id(1)}});
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        for (const int value : {0x00, 0x01, 0x7F, 0xFF}) {
            auto spoilt = bytes;
            spoilt[at] = static_cast<unsigned char>(value);
            Block block(spoilt);
            const auto catalogue = Catalogue::at(block.bytes());
            if (!catalogue) continue;
            for (std::uint64_t i = 0; i < 4; ++i) (void)catalogue->control(id(i));
            for (int i = 0; i < catalogue->categories(); ++i) (void)catalogue->category_name(i);
            for (int i = 0; i < 3; ++i) {
                for (const unsigned char byte : catalogue->requirements(i)) (void)byte;
            }
            (void)catalogue->framework(id(9));
        }
    }
}

}  // namespace
}  // namespace securatlas::core
