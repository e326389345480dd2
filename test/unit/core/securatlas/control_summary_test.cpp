#include "securatlas/core/securatlas/control_summary.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace securatlas::core {
namespace {

// Owns the memory of a summary; doubles, for their alignment.
struct Owned {
    explicit Owned(int places, int categories)
        : memory(ControlSummary::size_of(places, categories) / sizeof(double) + 1),
          summary(ControlSummary::make(block(places, categories), places, categories)) {}

    Bytes block(int places, int categories) {
        return {reinterpret_cast<unsigned char*>(memory.data()),
                ControlSummary::size_of(places, categories)};
    }

    std::vector<double> memory;
    ControlSummary summary;
};

TenantControl control(int place, int category, ControlStatus status, double maturity) {
    return {.place = place, .category = category, .status = status, .maturity = maturity};
}

std::vector<unsigned char> set_of(int places, std::initializer_list<int> members) {
    std::vector<unsigned char> set(set_size(places));
    for (const int place : members) add_place(set, place);
    return set;
}

TEST(ControlSummary, AveragesMaturityByCategory) {
    Owned owned(20, 3);
    owned.summary.add(control(1, 0, ControlStatus::implemented, 5));
    owned.summary.add(control(2, 0, ControlStatus::in_progress, 2));
    owned.summary.add(control(3, 2, ControlStatus::not_started, 0.5));
    EXPECT_DOUBLE_EQ(owned.summary.average_maturity().value(), 2.5);
    EXPECT_DOUBLE_EQ(owned.summary.average_maturity(0).value(), 3.5);
    EXPECT_FALSE(owned.summary.average_maturity(1).has_value());
    EXPECT_DOUBLE_EQ(owned.summary.average_maturity(2).value(), 0.5);
    EXPECT_EQ(owned.summary.bad_rows(), 0);
}

TEST(ControlSummary, OfNothingKnowsNothing) {
    Owned owned(0, 0);
    EXPECT_FALSE(owned.summary.average_maturity().has_value());
    EXPECT_FALSE(owned.summary.share_in(set_of(0, {})).has_value());
    EXPECT_EQ(owned.summary.categories(), 0);
}

TEST(ControlSummary, LeavesBadRowsOut) {
    Owned owned(20, 1);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const double maturity : {-1.0, 5.1, nan}) {
        owned.summary.add(control(1, 0, ControlStatus::implemented, maturity));
    }
    owned.summary.add(
        {.place = 1, .category = 0, .status = ControlStatus::in_progress, .maturity = {}});
    owned.summary.add({.place = 1, .category = 0, .status = {}, .maturity = 1.0});
    owned.summary.add(
        {.place = 2, .category = {}, .status = ControlStatus::not_started, .maturity = 1.0});
    owned.summary.add(
        {.place = {}, .category = {}, .status = ControlStatus::not_started, .maturity = 1.0});
    owned.summary.add(control(1, 1, ControlStatus::in_progress, 1.0));
    EXPECT_EQ(owned.summary.bad_rows(), 8);
    EXPECT_FALSE(owned.summary.average_maturity().has_value());
    // Whatever is wrong with a control that does not apply, it is not asked for.
    owned.summary.add(
        {.place = {}, .category = {}, .status = ControlStatus::not_applicable, .maturity = nan});
    EXPECT_EQ(owned.summary.bad_rows(), 8);
}

TEST(ControlSummary, RequirementsAreMetByImplementedAndNotApplicableControls) {
    Owned owned(20, 1);
    owned.summary.add(control(1, 0, ControlStatus::implemented, 3));
    owned.summary.add(control(9, 0, ControlStatus::not_applicable, 0));
    owned.summary.add(control(10, 0, ControlStatus::in_progress, 3));
    // A control that is not in the catalogue may be asked for.
    owned.summary.add(
        {.place = 19, .category = {}, .status = ControlStatus::implemented, .maturity = 9.0});
    std::vector<unsigned char> requirements;
    for (const auto& set : {set_of(20, {1, 9, 19}), set_of(20, {1, 10}), set_of(20, {2}),
                            set_of(20, {0}), set_of(20, {9})}) {
        requirements.insert(requirements.end(), set.begin(), set.end());
    }
    EXPECT_EQ(owned.summary.set_bytes() * 5, requirements.size());
    EXPECT_EQ(owned.summary.count_met(requirements), 2);
}

TEST(ControlSummary, TheShareCountsAssessedControlsOnly) {
    Owned owned(20, 1);
    owned.summary.add(control(1, 0, ControlStatus::implemented, 3));
    owned.summary.add(control(2, 0, ControlStatus::not_started, 0));
    owned.summary.add(control(3, 0, ControlStatus::not_applicable, 0));
    EXPECT_DOUBLE_EQ(owned.summary.share_in(set_of(20, {2, 3, 17})).value(), 0.5);
    EXPECT_DOUBLE_EQ(owned.summary.share_in(set_of(20, {})).value(), 0.0);
}

TEST(ControlSummary, TwoHalvesAddUpToTheWhole) {
    Owned whole(100, 5);
    Owned first(100, 5);
    Owned second(100, 5);
    for (int place = 1; place < 100; ++place) {
        const auto row =
            control(place, place % 5, static_cast<ControlStatus>(place % 4), place % 7);
        whole.summary.add(row);
        (place % 3 == 0 ? first : second).summary.add(row);
    }
    ASSERT_TRUE(first.summary.add(second.summary));
    EXPECT_EQ(whole.memory, first.memory);
    Owned other(100, 4);
    EXPECT_FALSE(first.summary.add(other.summary));
}

TEST(ControlSummary, ABlockOfAnotherSizeIsNone) {
    Owned owned(9, 2);
    EXPECT_TRUE(ControlSummary::at(owned.block(9, 2)).has_value());
    EXPECT_FALSE(ControlSummary::at(owned.block(9, 2).first(7)).has_value());
    EXPECT_FALSE(
        ControlSummary::at(owned.block(9, 2).first(ControlSummary::size_of(9, 1))).has_value());
}

TEST(ControlSummary, PlacesOutsideOfTheSetAreIgnored) {
    std::vector<unsigned char> set(set_size(10));
    add_place(set, -1);
    add_place(set, 16);
    EXPECT_EQ(set, set_of(10, {}));
}

TEST(ControlStatus, HasFourNames) {
    EXPECT_EQ(control_status("not_applicable"), ControlStatus::not_applicable);
    EXPECT_EQ(control_status("in_progress"), ControlStatus::in_progress);
    EXPECT_FALSE(control_status("Implemented").has_value());
    EXPECT_FALSE(control_status("").has_value());
}

}  // namespace
}  // namespace securatlas::core
