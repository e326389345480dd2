// Results that cannot be recorded now, because somebody has locked the rows of their requests: a
// transaction that has cancelled them and is not at its end.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "securatlas/core/time.hpp"
#include "securatlas/pg/net/requests.hpp"

namespace securatlas::app {

class HeldResults {
  public:
    // Moves the results of these requests here. Times are monotonic.
    void put_aside(const std::vector<std::int64_t>& ids,
                   std::vector<pg::requests::Response>& responses,
                   std::vector<pg::requests::Retry>& retries, core::Duration now);

    // Moves all of them back, once their time has come.
    void take_back(std::vector<pg::requests::Response>& responses,
                   std::vector<pg::requests::Retry>& retries, core::Duration now);

    // When that is; nullopt: there are none.
    std::optional<core::Duration> time() const;

    void add_ids_to(std::vector<std::int64_t>& ids) const;

  private:
    bool empty() const { return responses_.empty() && retries_.empty(); }

    std::vector<pg::requests::Response> responses_;
    std::vector<pg::requests::Retry> retries_;
    core::Duration time_{0};
};

}  // namespace securatlas::app
