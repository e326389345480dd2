// How a job worker executes an order for callbacks.
#pragma once

#include "securatlas/pg/shared/order.hpp"

namespace securatlas::app {

class CallbackRunner {
  public:
    // Calls callbacks of the order's role one after another, until none is due or a second is over,
    // because runs of the role wait for their turn. The report says when the next callback is due.
    pg::CallbackReport execute(const pg::CallbackOrder& order);

  private:
    // The first call of a worker may be a repetition after a crash of the server.
    bool careful_ = true;
};

}  // namespace securatlas::app
