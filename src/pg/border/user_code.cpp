#include "border/user_code.hpp"

extern "C" {
#include "access/xact.h"
#include "jit/jit.h"
#include "utils/portal.h"
#include "utils/timeout.h"
}

namespace securatlas::pg {

void abort_everything() {
    call([] {
        disable_all_timeouts(false);
        QueryCancelPending = 0;
        AbortOutOfAnyTransaction();
        PortalErrorCleanup();
        // The end of a transaction does not do these; PostgresMain() does them after an error, too.
        release_replication_slots();
        jit_reset_after_error();
    });
}

void stop_timeouts() {
    call([] {
        disable_all_timeouts(false);
        QueryCancelPending = 0;
    });
}

void log_failure(const std::string& what, const Error& error) {
    call([&what, &error] {
        ereport(LOG, (errmsg("%s: %s", what.c_str(), error.message().c_str()),
                      error.detail().empty() ? 0 : errdetail("%s", error.detail().c_str()),
                      error.hint().empty() ? 0 : errhint("%s", error.hint().c_str()),
                      error.context().empty() ? 0 : errcontext_msg("%s", error.context().c_str())));
    });
}

}  // namespace securatlas::pg
