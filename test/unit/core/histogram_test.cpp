#include "securatlas/core/histogram.hpp"

#include <gtest/gtest.h>

namespace securatlas::core {
namespace {

TEST(Histogram, BoundsBelongToTheirBucket) {
    EXPECT_EQ(histogram_bucket(Duration(0)), 0U);
    for (std::size_t i = 0; i < kHistogramBounds.size(); ++i) {
        EXPECT_EQ(histogram_bucket(kHistogramBounds[i]), i);
        EXPECT_EQ(histogram_bucket(kHistogramBounds[i] + Duration(1)), i + 1);
    }
    EXPECT_EQ(histogram_bucket(Duration::max()), kHistogramBuckets - 1);
}

TEST(Histogram, QuantilesLieInTheirBucket) {
    std::array<std::int64_t, kHistogramBuckets> counts{};
    EXPECT_EQ(histogram_quantile(counts, 0.5), std::nullopt);
    counts[1] = 98;  // up to 2.5 ms
    counts[6] = 1;   // up to 100 ms
    counts[kHistogramBuckets - 1] = 1;
    EXPECT_GT(*histogram_quantile(counts, 0.5), Duration(1'000));
    EXPECT_LT(*histogram_quantile(counts, 0.5), Duration(2'500));
    EXPECT_EQ(histogram_quantile(counts, 0.98), Duration(2'500));
    EXPECT_EQ(histogram_quantile(counts, 0.99), Duration(100'000));
    EXPECT_EQ(histogram_quantile(counts, 1.0), kHistogramBounds.back());
}

}  // namespace
}  // namespace securatlas::core
