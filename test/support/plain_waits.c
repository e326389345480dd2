/*
 * To be preloaded before libfaketime: libc's own functions that wait.
 *
 * libfaketime has its own ones, for clocks that run faster or slower, and shows the real time as long
 * as a call of them lasts. A signal handler that runs meanwhile sees it, too: PostgreSQL finds then
 * that no timeout is over, and the background workers that PostgreSQL 15 starts in a handler see the
 * real time for good.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

#define PLAIN(name, parameters, arguments)  \
    static int (*libc_##name) parameters;   \
    int name parameters {                   \
        return libc_##name arguments;       \
    }

PLAIN(select, (int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t), (n, r, w, e, t))
PLAIN(poll, (struct pollfd *fds, nfds_t n, int t), (fds, n, t))
PLAIN(epoll_wait, (int fd, struct epoll_event *events, int n, int t), (fd, events, n, t))
PLAIN(nanosleep, (const struct timespec *t, struct timespec *left), (t, left))

__attribute__((constructor)) static void find_plain_ones(void) {
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    *(void **)&libc_select = dlsym(libc, "select");
    *(void **)&libc_poll = dlsym(libc, "poll");
    *(void **)&libc_epoll_wait = dlsym(libc, "epoll_wait");
    *(void **)&libc_nanosleep = dlsym(libc, "nanosleep");
}
