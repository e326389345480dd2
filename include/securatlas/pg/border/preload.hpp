// Which libraries the server preloads beside this one.
#pragma once

namespace securatlas::pg {

// Throws what to do if shared_preload_libraries names the original pg_cron, in any position. Both
// libraries define the same settings, so the server would fail to start anyway, but with a message
// about one of the settings only.
void refuse_original_beside();

}  // namespace securatlas::pg
