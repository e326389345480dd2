#include "securatlas/pg/border/process.hpp"

#include <algorithm>

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/settings.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

namespace securatlas::pg {
namespace {

constexpr core::Duration kLongestSleep = std::chrono::minutes(1);

constinit unsigned version = 0;  // of the configuration
constinit int descriptors = 0;   // that were acquired

void set_for_process(const char* name, const char* value) {
    SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

}  // namespace

core::Instant now() { return to_instant(GetCurrentTimestamp()); }

core::Duration monotonic_now() {
    return std::chrono::duration_cast<core::Duration>(
        std::chrono::steady_clock::now().time_since_epoch());
}

core::Instant server_start() { return to_instant(PgStartTime); }

void connect_as_superuser(unsigned int database) {
    call([database] {
        BackgroundWorkerInitializeConnectionByOid(database, BOOTSTRAP_SUPERUSERID, 0);
        set_for_process("search_path", "pg_catalog, pg_temp");
        set_for_process("statement_timeout", "0");
        // These processes avoid to wait for locks; where they have to, it is not for long.
        set_for_process("lock_timeout", "1s");
        set_for_process("idle_in_transaction_session_timeout", "0");
        set_for_process("default_transaction_isolation", "read committed");
        set_for_process("default_transaction_read_only", "off");
        set_for_process("default_transaction_deferrable", "off");
        set_for_process("session_replication_role", "replica");
        set_for_process("row_security", "off");
        // Its statements are small; loading the compiler would cost more than all of them.
        set_for_process("jit", "off");
    });
}

void connect_to_shared_catalogs() {
    call([] { BackgroundWorkerInitializeConnection(nullptr, nullptr, 0); });
}

void connect_as_role(unsigned int database, unsigned int role) {
    call([database, role] { BackgroundWorkerInitializeConnectionByOid(database, role, 0); });
    apply_log_min_messages();
}

void accept_signals() {
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    pqsignal(SIGINT, StatementCancelHandler);
    BackgroundWorkerUnblockSignals();
}

void wait(core::Duration timeout, int fd) {
    call([timeout, fd] {
        int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
        if (fd >= 0) events |= WL_SOCKET_READABLE;
        const core::Duration sleep =
            (std::max)(core::Duration(0), (std::min)(timeout, kLongestSleep));
        const long milliseconds = std::chrono::ceil<std::chrono::milliseconds>(sleep).count();
        (void)WaitLatchOrSocket(MyLatch, events, fd >= 0 ? fd : PGINVALID_SOCKET, milliseconds,
                                PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
    });
    check_interrupts();
}

unsigned configuration_version() { return version; }

int acquire_descriptors(int wanted) {
    const auto release_to = [](int count) {
        for (; descriptors > count; --descriptors) call([] { ReleaseExternalFD(); });
    };
    // PostgreSQL asks for some itself, to wait for a latch for one.
    constexpr int kSpare = 16;
    while (descriptors < wanted) {
        if (!call([] { return AcquireExternalFD(); })) {
            release_to(std::max(0, descriptors - kSpare));
            break;
        }
        ++descriptors;
    }
    release_to(wanted);
    return descriptors;
}

void wait_for_processes(core::Duration pause) {
    call([pause] {
        pg_usleep(static_cast<long>(pause.count()));
        CHECK_FOR_INTERRUPTS();
    });
}

void check_interrupts() {
    // A shutdown is no error: leave without the log line that CHECK_FOR_INTERRUPTS would write.
    if (ProcDiePending != 0) exit_process(true);
    call([] {
        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending != 0) {
            ConfigReloadPending = 0;
            ProcessConfigFile(PGC_SIGHUP);
            ++version;
        }
    });
}

void exit_process(bool failed) {
    proc_exit(failed ? 1 : 0);
    pg_unreachable();
}

void report_idle() {
    call([] { pgstat_report_activity(STATE_IDLE, nullptr); });
}

void* load_function(const char* library, const char* name) {
    return call([library, name] { return load_external_function(library, name, false, nullptr); });
}

void write_log(LogLevel level, std::string_view text) {
    const std::string copy(text);
    call([level, &copy] {
        ereport(level == LogLevel::warning ? WARNING : LOG, errmsg_internal("%s", copy.c_str()));
    });
}

}  // namespace securatlas::pg
