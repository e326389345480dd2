/*
 * To be preloaded into a server beside the library that is tested: holds processes at moments that
 * are too short to hit by chance, and makes operations fail that normally succeed.
 *
 * The test writes what it wants into the file "moments" of the data directory, which is mapped by
 * all processes, and reads there what has happened.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/elog.h"

PG_MODULE_MAGIC;

void _PG_init(void);

typedef struct Moments {
    int32 hold_at; /* the commit of a scheduler's life that is held; 0: none */
    int32 except;  /* not of the scheduler in this database */
    int32 held;    /* the commit that is held now */
    int32 ended;   /* schedulers that have ended */
    int32 files;   /* 1: a scheduler has as many files open as it may have */
    int32 fail;    /* 1: for a job worker it is an error to log "fails_to_start" */
} Moments;

static volatile Moments *moments;
static emit_log_hook_type next_log_hook;
static int commits;
static int files[65536];
static int file_count;

static bool is_a(const char *type) {
    return MyBgworkerEntry != NULL && strcmp(MyBgworkerEntry->bgw_type, type) == 0;
}

static void count_end(int code, Datum unused) { ++moments->ended; }

/* Takes every descriptor that the process may still open; files that are open already stay so. */
static void take_files(void) {
    int fd;
    while (moments->files != 0 && file_count < lengthof(files) && (fd = dup(0)) >= 0) {
        files[file_count++] = fd;
    }
    while (moments->files == 0 && file_count > 0) close(files[--file_count]);
}

static void hold(XactEvent event, void *unused) {
    if (event != XACT_EVENT_COMMIT || !is_a("securatlas_sched scheduler")) return;
    if (++commits == 1) on_proc_exit(count_end, 0);
    take_files();
    if (moments->hold_at != commits || moments->except == (int32)MyDatabaseId) return;
    moments->held = commits;
    while (moments->hold_at == commits) pg_usleep(1000);
    moments->held = 0;
}

static void fail(ErrorData *error) {
    if (moments->fail != 0 && is_a("securatlas_sched job worker") && error->elevel == LOG &&
        error->message != NULL && strstr(error->message, "fails_to_start") != NULL) {
        ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory, says the test"));
    }
    if (next_log_hook != NULL) next_log_hook(error);
}

void _PG_init(void) {
    char path[MAXPGPATH];
    int fd;
    snprintf(path, sizeof path, "%s/moments", DataDir);
    fd = open(path, O_RDWR);
    if (fd < 0) elog(ERROR, "could not open \"%s\": %m", path);
    moments = mmap(NULL, sizeof *moments, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (moments == MAP_FAILED) elog(ERROR, "could not map \"%s\": %m", path);
    close(fd);
    RegisterXactCallback(hold, NULL);
    next_log_hook = emit_log_hook;
    emit_log_hook = fail;
}
