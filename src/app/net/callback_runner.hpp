// A job worker's execution of an order for callbacks.
#pragma once

#include "securatlas/pg/shared/order.hpp"

namespace securatlas::app {

class CallbackRunner {
  public:
    // Calls callbacks of the order's role one after another, until none is due or a second is over:
    // runs of the role wait, too. The report says when the next one is due.
    pg::CallbackReport execute(const pg::CallbackOrder& order);

  private:
    // The first call of each worker is one that a crash of the server may have repeated.
    bool careful_ = true;
};

}  // namespace securatlas::app
