// Durations counted by size, in buckets that are the same everywhere and for all time, so that
// histograms of different processes and days can be added.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "securatlas/core/time.hpp"

namespace securatlas::core {

// The upper bounds of the buckets, inclusive; longer durations have a bucket of their own.
inline constexpr std::array kHistogramBounds = {
    Duration(1'000),      Duration(2'500),      Duration(5'000),      Duration(10'000),
    Duration(25'000),     Duration(50'000),     Duration(100'000),    Duration(250'000),
    Duration(500'000),    Duration(1'000'000),  Duration(2'500'000),  Duration(5'000'000),
    Duration(10'000'000), Duration(30'000'000), Duration(60'000'000), Duration(300'000'000)};
inline constexpr std::size_t kHistogramBuckets = kHistogramBounds.size() + 1;

constexpr std::size_t histogram_bucket(Duration duration) {
    const auto* bound =
        std::lower_bound(kHistogramBounds.begin(), kHistogramBounds.end(), duration);
    return static_cast<std::size_t>(bound - kHistogramBounds.begin());
}

// The duration below which the given share of what was counted lies, interpolated within its
// bucket; in the last bucket, its lower bound. nullopt: nothing was counted.
std::optional<Duration> histogram_quantile(std::span<const std::int64_t> counts, double share);

}  // namespace securatlas::core
