#include "securatlas/pg/border/process.hpp"

#include <sys/resource.h>
#include <sys/timerfd.h>

#include <algorithm>

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/settings.hpp"
#include "securatlas/pg/shared/bell.hpp"

extern "C" {
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
}

namespace securatlas::pg {
namespace {

constexpr core::Duration kLongestSleep = std::chrono::minutes(1);

constexpr core::Duration kLongestPrecise = std::chrono::seconds(1);

constinit unsigned version = 0;  // of the configuration
constinit int descriptors = 0;   // that were acquired
constinit ExitFunction before_exit = nullptr;

// What wait() waits for.
struct Waiting {
    WaitEventSet* events = nullptr;
    int fd = PGINVALID_SOCKET;
    int timer = -1;  // a descriptor that becomes readable at the end of a short sleep
    bool is_timer_set = false;
    Bell* bell = nullptr;
    std::uint32_t heard = 0;  // number of rings when wait() last returned
};
constinit Waiting waiting;

std::uint32_t rings() {
    return waiting.bell == nullptr ? 0 : waiting.bell->rings.load(std::memory_order_acquire);
}

// C world. Created once, because each WaitEventSet costs an epoll descriptor.
WaitEventSet* wait_events() {
    if (waiting.events != nullptr) return waiting.events;
    WaitEventSet* events = create_wait_event_set(4);
    AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
    AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
    if (waiting.fd != PGINVALID_SOCKET) {
        AddWaitEventToSet(events, WL_SOCKET_READABLE, waiting.fd, nullptr, nullptr);
    }
    if (waiting.timer >= 0) {
        AddWaitEventToSet(events, WL_SOCKET_READABLE, waiting.timer, nullptr, nullptr);
    }
    waiting.events = events;
    return events;
}

bool is_to_end() {
    return ProcDiePending != 0 ||
           (waiting.bell != nullptr && waiting.bell->is_last.load(std::memory_order_relaxed));
}

// Sets the timer, or stops it; either way it is not readable any more.
void set_timer(core::Duration time) {
    const bool is_short = time > core::Duration(0) && time < kLongestPrecise;
    if (waiting.timer < 0 || (!is_short && !waiting.is_timer_set)) return;
    itimerspec when{};
    if (is_short) when.it_value.tv_nsec = std::chrono::nanoseconds(time).count();
    waiting.is_timer_set = timerfd_settime(waiting.timer, 0, &when, nullptr) == 0 && is_short;
}

void sleep_for(Wait what, core::Duration timeout) {
    call([what, timeout] {
        const core::Duration sleep =
            (std::max)(core::Duration(0), (std::min)(timeout, kLongestSleep));
        const long milliseconds = std::chrono::ceil<std::chrono::milliseconds>(sleep).count();
        set_timer(sleep);
        WaitEvent event;
        (void)WaitEventSetWait(wait_events(), milliseconds, &event, 1, wait_event(what));
        ResetLatch(MyLatch);
    });
}

}  // namespace

core::Instant now() { return to_instant(GetCurrentTimestamp()); }

core::Duration monotonic_now() {
    return std::chrono::duration_cast<core::Duration>(
        std::chrono::steady_clock::now().time_since_epoch());
}

core::Instant server_start() { return to_instant(PgStartTime); }

void accept_signals() {
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    pqsignal(SIGINT, StatementCancelHandler);
    // A SIGHUP between the fork of this process and here was ignored.
    ConfigReloadPending = 1;
    BackgroundWorkerUnblockSignals();
}

void listen_to(Bell& bell) noexcept {
    bell.is_last.store(false, std::memory_order_relaxed);
    waiting.bell = &bell;
    waiting.heard = rings();
}

void wait_precisely() {
    waiting.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

void wait_also_for(int fd) {
    call([fd] {
        if (waiting.events != nullptr) FreeWaitEventSet(waiting.events);
        waiting.events = nullptr;
        waiting.fd = fd;
    });
}

// The order matters: reset the latch, check for interrupts and for work, and only then wait.
void wait(Wait what, core::Duration timeout) {
    heed_signals();
    // True even if something else has reset the latch since wait() last returned.
    const bool is_called = rings() != waiting.heard;
    sleep_for(what, is_called ? core::Duration(0) : timeout);
    waiting.heard = rings();
    heed_signals();
}

void pause(core::Duration time) {
    const core::Duration until = monotonic_now() + time;
    heed_signals();
    for (auto left = time; left > core::Duration(0); left = until - monotonic_now()) {
        sleep_for(Wait::error_pause, left);
        heed_signals();
    }
}

unsigned configuration_version() { return version; }

void reload_configuration() {
    if (IsUnderPostmaster) (void)kill(PostmasterPid, SIGHUP);
}

int acquire_descriptors(int wanted) {
    const auto release_to = [](int count) {
        for (; descriptors > count; --descriptors) call([] { ReleaseExternalFD(); });
    };
    // PostgreSQL itself needs some, for example for a WaitEventSet.
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

void nap(Wait what, core::Duration time) {
    call([what, time] {
        pgstat_report_wait_start(wait_event(what));
        pg_usleep(static_cast<long>(time.count()));
        pgstat_report_wait_end();
        CHECK_FOR_INTERRUPTS();
    });
}

void sleep_through(Wait what, core::Duration time) {
    pgstat_report_wait_start(wait_event(what));
    pg_usleep(static_cast<long>(time.count()));
    pgstat_report_wait_end();
}

Usage usage_so_far() noexcept {
    rusage usage{};
    if (getrusage(RUSAGE_SELF, &usage) != 0) return {};
    const auto seconds = std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec);
    const auto rest = std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return {seconds + rest, usage.ru_nvcsw};
}

void check_interrupts() {
    // Neither a shutdown nor DROP DATABASE is an error: exit without the log message of
    // CHECK_FOR_INTERRUPTS.
    if (is_to_end()) exit_process(true);
    call([] {
        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending != 0) {
            ConfigReloadPending = 0;
            ProcessConfigFile(PGC_SIGHUP);
            ++version;
        }
    });
}

void heed_signals() {
    QueryCancelPending = 0;
    check_interrupts();
}

void exit_process(bool failed) {
    proc_exit(failed ? 1 : 0);
    pg_unreachable();
}

void call_before_exit(ExitFunction function) {
    before_exit = function;
    call([] { before_shmem_exit([](int, Datum) { before_exit(); }, 0); });
}

void report_idle() {
    call([] {
        pgstat_report_activity(STATE_IDLE, nullptr);
        // Statistics that the last commits have delayed, because it is not known when the next
        // commit comes.
        (void)pgstat_report_stat(true);
    });
}

void report_active(const char* what) {
    call([what] { pgstat_report_activity(STATE_RUNNING, what); });
}

void set_application_name(const char* name) {
    call([name] { SetConfigOption("application_name", name, PGC_USERSET, PGC_S_OVERRIDE); });
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
