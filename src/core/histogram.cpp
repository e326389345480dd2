#include "securatlas/core/histogram.hpp"

#include <numeric>

namespace securatlas::core {

std::optional<Duration> histogram_quantile(std::span<const std::int64_t> counts, double share) {
    const auto total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    if (total <= 0) return std::nullopt;
    const double wanted = share * static_cast<double>(total);
    double before = 0;
    for (std::size_t i = 0; i < counts.size() && i < kHistogramBounds.size(); ++i) {
        const auto count = static_cast<double>(counts[i]);
        if (count > 0 && before + count >= wanted) {
            const Duration lower = i == 0 ? Duration(0) : kHistogramBounds[i - 1];
            const auto width = static_cast<double>((kHistogramBounds[i] - lower).count());
            return lower + Duration(static_cast<Duration::rep>(width * (wanted - before) / count));
        }
        before += count;
    }
    return kHistogramBounds.back();
}

}  // namespace securatlas::core
