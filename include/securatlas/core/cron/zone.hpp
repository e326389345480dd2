// The interface to a time zone's rules. src/pg implements it with PostgreSQL's zone database, the
// unit tests with the system's.
#pragma once

#include <chrono>

#include "securatlas/core/time.hpp"

namespace securatlas::core {

// The longest span around an instant in which the zone's offset is known not to change.
struct ZoneSpan {
    std::chrono::seconds offset;  // local time minus UTC; between -26 h and +26 h
    Instant end;                  // first instant at which another offset may apply; kNever if none
};

class Zone {
  public:
    virtual ~Zone() = default;

    // The offset in force at `instant` and when it ends. Defined for the years 1900 to 2500.
    // Never fails. `end` is always later than `instant`.
    virtual ZoneSpan span_at(Instant instant) const = 0;
};

}  // namespace securatlas::core
