// SPDX-License-Identifier: GPL-3.0-or-later
// The C library's clock of the day, further off with every look at it: by JUMP_S seconds, ahead or behind.
// The monotonic clock is right. To be loaded before the C library (LD_PRELOAD).
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static atomic_int looks;
    const char *jump_s = getenv("JUMP_S");
    int status = syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && jump_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += atol(jump_s) * atomic_fetch_add(&looks, 1);
    return status;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec precise;
    int status = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return status;
}

time_t time(time_t *now)
{
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now)
        *now = precise.tv_sec;
    return precise.tv_sec;
}
