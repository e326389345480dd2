// The part of shared memory that the statistics have, for what sets up the segment.
#pragma once

namespace securatlas::pg {

// In the hooks of the same names.
void request_statistics_segment();
void start_statistics_segment();

}  // namespace securatlas::pg
