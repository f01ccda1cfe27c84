/* Preloaded into a process (LD_PRELOAD), sets its clock back and fills its disk when the file MISFORTUNE says so: two
   64-bit numbers, the seconds that the wall clock is wrong by, and 1 if the disk that holds the folder FULL_DISK is full.
   A full disk takes no write and gives ENOSPC; the rest of the machine's disks have room. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t calm[2];
static volatile const int64_t *said = calm;

__attribute__((constructor)) static void listen_to_the_file(void) {
    const char *name = getenv("MISFORTUNE");
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
