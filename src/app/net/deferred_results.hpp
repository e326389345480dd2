// Results that cannot be recorded now, because the rows of their requests are locked: by a
// transaction that has cancelled them and has not ended.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "securatlas/core/net/outbox.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::app {

class DeferredResults {
  public:
    // Moves the results of these requests from `responses` and `retries` here. Times are monotonic.
    void defer(const std::vector<std::int64_t>& ids, std::vector<core::EndedRequest>& responses,
               std::vector<core::RetriedRequest>& retries, core::Duration now);

    // Moves all of them back when time() is reached.
    void take_due(std::vector<core::EndedRequest>& responses,
                  std::vector<core::RetriedRequest>& retries, core::Duration now);

    // When they are to be tried again; nullopt: there are none.
    std::optional<core::Duration> time() const;

    void add_ids_to(std::vector<std::int64_t>& ids) const;

  private:
    bool empty() const { return responses_.empty() && retries_.empty(); }

    std::vector<core::EndedRequest> responses_;
    std::vector<core::RetriedRequest> retries_;
    core::Duration time_{0};
};

}  // namespace securatlas::app
