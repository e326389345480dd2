// Which libraries the server preloads beside this one.
#pragma once

namespace securatlas::pg {

// Throws what to do if shared_preload_libraries names the original pg_cron, in whatever place: both
// libraries define the same settings, and the server would not start, with a message about one of
// these.
void refuse_original_beside();

}  // namespace securatlas::pg
