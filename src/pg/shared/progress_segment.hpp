// The part of shared memory that progress has, for what sets up the segment.
#pragma once

namespace securatlas::pg {

// In the hooks of the same names.
void request_progress_segment();
void start_progress_segment();

}  // namespace securatlas::pg
