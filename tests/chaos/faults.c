/* Preloaded into a process (LD_PRELOAD), sets its clock back and fills its disk when the file INJECTED_FAULTS says so: two
   64-bit numbers, the seconds that the wall clock is wrong by, and 1 if the disk that holds the folder FULL_DISK is full.
   Who waits until a time by the wrong clock is woken when that clock shows it: the kernel, whose clock is right, is told
   the time by its own. Otherwise such waits would end at once, again and again.
   A full disk takes no write and gives ENOSPC; the rest of the machine's disks have room. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t calm[2];
static volatile const int64_t *said = calm;

__attribute__((constructor)) static void listen_to_the_file(void) {
    const char *name = getenv("INJECTED_FAULTS");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *shared = mmap(NULL, sizeof calm, PROT_READ, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) said = shared;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += said[0];
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed) now->tv_sec += said[0];
    return failed;
}

time_t time(time_t *now) {
    struct timespec seconds;
    clock_gettime(CLOCK_REALTIME, &seconds);
    if (now) *now = seconds.tv_sec;
    return seconds.tv_sec;
}

/* A time by the wrong clock as the right one has it. Times since the machine's start are far below those since 1970. */
static struct timespec by_the_right_clock(const struct timespec *time) {
    struct timespec right = *time;
    if (right.tv_sec > 1000000000) right.tv_sec -= said[0];
    return right;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlsym(RTLD_NEXT,
                                                                                            "pthread_cond_timedwait");
    struct timespec right = by_the_right_clock(until);
    return real(condition, mutex, &right);
}

/* Locks of gRPC wait by the system call itself. */
long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long given[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; ++i) given[i] = va_arg(list, long);
    va_end(list);
    struct timespec right;
    if (number == SYS_futex && (given[1] & FUTEX_CLOCK_REALTIME) && given[3]) {
        right = by_the_right_clock((const struct timespec *)given[3]);
        given[3] = (long)&right;
    }
    return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

static int on_the_full_disk(int file) {
    const char *folder = getenv("FULL_DISK");
    char link[64], path[4096];
    if (!said[1] || !folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    size_t wanted = strlen(folder);
    return length > (ssize_t)wanted && path[wanted] == '/' && !strncmp(path, folder, wanted);
}

ssize_t write(int file, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (on_the_full_disk(file)) {
        errno = ENOSPC;
        return -1;
    }
    return real(file, bytes, count);
}
