// How many workers a role's runs need.
#pragma once

#include "securatlas/core/time.hpp"

namespace securatlas::core {

// A run that takes longer than this keeps none behind it, and others need another worker.
inline constexpr Duration kSoon = std::chrono::milliseconds(5);

// The workers of a target (a database and a role) that cannot take an order at once.
struct BusyWorkers {
    int soon_free = 0;  // executing a run since less than kSoon
    int occupied = 0;   // executing one for longer
    int launching = 0;
    bool waits = false;  // most of the last runs have waited for something
};

// Whether one more worker would bring an order sooner to its end than the queue of one that is soon
// free. Runs that only compute end no sooner by workers beyond the processors. Others wait for the
// disk, for locks or for a time, and each may have a worker of its own. Either way, no order is
// kept waiting behind runs that are not soon over: as long as workers become occupied, their number
// is doubled, so that a burst of runs that turn out to be short does not start workers that nobody
// needs.
constexpr bool wants_worker(const BusyWorkers& workers, int processors) {
    const int coming = workers.soon_free + workers.launching;
    const int few = processors < 2 ? 2 : processors;
    if (coming < few || coming < workers.occupied) return true;
    return workers.waits && workers.launching < few + workers.soon_free + workers.occupied;
}

}  // namespace securatlas::core
