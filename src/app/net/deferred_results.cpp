#include "net/deferred_results.hpp"

#include <algorithm>
#include <iterator>
#include <unordered_set>

namespace securatlas::app {
namespace {

constexpr core::Duration kPause = std::chrono::seconds(1);

using Ids = std::unordered_set<std::int64_t>;

template <class Result>
void move_those(const Ids& ids, std::vector<Result>& from, std::vector<Result>& to) {
    const auto first = std::stable_partition(from.begin(), from.end(), [&](const Result& result) {
        return !ids.contains(static_cast<std::int64_t>(result.id));
    });
    std::move(first, from.end(), std::back_inserter(to));
    from.erase(first, from.end());
}

template <class Result>
void move_all(std::vector<Result>& from, std::vector<Result>& to) {
    std::move(from.begin(), from.end(), std::back_inserter(to));
    from.clear();
}

}  // namespace

void DeferredResults::defer(const std::vector<std::int64_t>& ids,
                            std::vector<core::EndedRequest>& responses,
                            std::vector<core::RetriedRequest>& retries, core::Duration now) {
    if (ids.empty()) return;
    if (empty()) time_ = now + kPause;
    const Ids locked(ids.begin(), ids.end());
    move_those(locked, responses, responses_);
    move_those(locked, retries, retries_);
}

void DeferredResults::take_due(std::vector<core::EndedRequest>& responses,
                               std::vector<core::RetriedRequest>& retries, core::Duration now) {
    if (empty() || now < time_) return;
    move_all(responses_, responses);
    move_all(retries_, retries);
}

std::optional<core::Duration> DeferredResults::time() const {
    return empty() ? std::nullopt : std::optional(time_);
}

void DeferredResults::add_ids_to(std::vector<std::int64_t>& ids) const {
    for (const auto& response : responses_) ids.push_back(static_cast<std::int64_t>(response.id));
    for (const auto& retry : retries_) ids.push_back(static_cast<std::int64_t>(retry.id));
}

}  // namespace securatlas::app
