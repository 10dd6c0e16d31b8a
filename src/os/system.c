// SPDX-License-Identifier: MIT
#include "os/os.h"

#include "base/mix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#endif

double inki_os_now_ms(void) {
    struct timespec t = {0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

uint32_t inki_os_n_cpus(void) {
#if defined(__linux__)
    // Room for 8,192 processors: with the plain cpu_set_t the call fails on machines over 1,024.
    cpu_set_t sets[8];
    memset(sets, 0, sizeof sets);
    if (sched_getaffinity(0, sizeof sets, sets) == 0) {
        const int n = CPU_COUNT_S(sizeof sets, sets);
        if (n > 0) return (uint32_t)n;
    }
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < 1 << 20 ? (uint32_t)online : 1;
}

#if defined(__linux__)
// The number in a file of the kernel's; UINT64_MAX where there is none ("max").
static uint64_t number_in(const char *path) {
    char text[32];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : 0;
    if (fd >= 0) close(fd);
    uint64_t number = 0;
    ssize_t i = 0;
    for (; i < n && i < 19 && text[i] >= '0' && text[i] <= '9'; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    return i > 0 ? number : UINT64_MAX;
}
#endif

// In a container the limit of its control group counts, as it sees it (version 2, then 1), without
// the swap space that the group may have.
uint64_t inki_os_memory_bytes(void) {
#if defined(__linux__)
    struct sysinfo info;
    if (sysinfo(&info) != 0) return 0;
    uint64_t bytes = ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
    const uint64_t limits[] = {number_in("/sys/fs/cgroup/memory.max"),
                               number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes")};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        bytes = limits[i] < bytes ? limits[i] : bytes;
    return bytes;
#else
    return 0;
#endif
}

uint64_t inki_os_random(void) {
    uint64_t value = 0;
#if defined(__linux__)
    // Early in a machine's boot the system has no randomness yet; a seed is not worth waiting for.
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) == (ssize_t)sizeof value) return value;
#endif
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    value = inki_mix64((uint64_t)t.tv_sec) ^ inki_mix64((uint64_t)t.tv_nsec + INKI_GOLDEN64);
    clock_gettime(CLOCK_MONOTONIC, &t);
    value ^=
        inki_mix64((uint64_t)t.tv_nsec ^ (uint64_t)getpid() << 32) ^ (uint64_t)(uintptr_t)&value;
    return inki_mix64(value);
}

void inki_os_touch(void *memory, size_t bytes) {
#if defined(MADV_POPULATE_WRITE) // Linux 5.14; an older one refuses it
    const long page = sysconf(_SC_PAGESIZE);
    const size_t size = page > 0 ? (size_t)page : 1, lead = (0 - (uintptr_t)memory) % size;
    if (bytes > lead && bytes - lead >= size)
        madvise((uint8_t *)memory + lead, (bytes - lead) / size * size, MADV_POPULATE_WRITE);
#else
    (void)memory;
    (void)bytes;
#endif
}

int64_t inki_os_pid(void) { return (int64_t)getpid(); }

// strerror follows the host's locale and strerror_r has two signatures; these are the codes that
// users of files really meet.
void inki_os_error_text(int code, char *out, size_t cap) {
    const char *words = NULL;
    switch (code) {
    case ENOENT: words = "no such file or folder"; break;
    case ENOTDIR: words = "a part of the path is not a folder"; break;
    case EACCES: words = "permission denied"; break;
    case EPERM: words = "operation not permitted"; break;
    case EROFS: words = "read-only file system"; break;
    case ENOSPC: words = "no space left on device"; break;
    case EDQUOT: words = "disk quota exceeded"; break;
    case EFBIG: words = "file too large"; break;
    case EISDIR: words = "is a directory"; break;
    case EIO: words = "input/output error"; break;
    case ENAMETOOLONG: words = "name too long"; break;
    case ELOOP: words = "too many symbolic links"; break;
    case EMFILE: words = "too many open files in the process"; break;
    case ENFILE: words = "too many open files in the system"; break;
    case ENOMEM: words = "out of memory"; break;
    case EBADF: words = "the file descriptor is not open for this"; break;
    case EPIPE: words = "broken pipe"; break;
    case ESPIPE: words = "a pipe has no positions"; break;
    case EBUSY: words = "busy"; break;
    case ETXTBSY: words = "the file is a running program"; break;
    case ENXIO: words = "no such device"; break;
    default: break;
    }
    if (words != NULL)
        snprintf(out, cap, "%s", words);
    else
        snprintf(out, cap, "error %d of the system", code);
}
