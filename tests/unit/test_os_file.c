// SPDX-License-Identifier: MIT
// Files in (mapped, copied, a range of a descriptor) and files out (whole or not at all).
#include "os/os.h"
#include "tests/support/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[256];

static int make_folder(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/inkling-os-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static size_t n_entries(void) {
    DIR *d = opendir(folder);
    assert_non_null(d);
    size_t n = 0;
    while (readdir(d) != NULL) n++;
    closedir(d);
    return n - 2;
}

static int drop_folder(void **state) {
    (void)state;
    DIR *d = opendir(folder);
    if (d == NULL) return -1;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            const int at = dirfd(d);
            if (unlinkat(at, e->d_name, 0) != 0) unlinkat(at, e->d_name, AT_REMOVEDIR);
        }
    closedir(d);
    return rmdir(folder);
}

static const char *in_folder(const char *name) {
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put_file(const char *path, const char *text, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static void holds(const char *path, const char *text) {
    char got[256] = {0};
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(got, 1, sizeof got - 1, f);
    fclose(f);
    assert_int_equal(n, strlen(text));
    assert_string_equal(got, text);
}

static const inki_mem *libc_mem(void) {
    static inki_mem mem;
    mem = inki_mem_from(NULL);
    return &mem;
}

static void open_path_gives_the_bytes(void **state) {
    (void)state;
    put_file(in_folder("a"), "hello", 5);
    for (int copy = 0; copy < 2; copy++) {
        inki_file f = {0};
        assert_int_equal(inki_os_open_path(&f, in_folder("a"), copy, libc_mem(), NULL), INK_OK);
        assert_int_equal(f.bytes, 5);
        assert_memory_equal(f.data, "hello", 5);
        assert_int_equal(f.map == NULL, copy);
        assert_int_equal(f.heap != NULL, copy);
        inki_os_close(&f);
        assert_null(f.data);
        inki_os_close(&f);
    }
}

// A copy does not follow the file when that changes.
static void a_copy_is_one(void **state) {
    (void)state;
    put_file(in_folder("b"), "first", 5);
    inki_file f = {0};
    assert_int_equal(inki_os_open_path(&f, in_folder("b"), true, libc_mem(), NULL), INK_OK);
    put_file(in_folder("b"), "", 0);
    assert_memory_equal(f.data, "first", 5);
    inki_os_close(&f);
}

static void path_refused(const char *path, ink_status status, const char *word) {
    ink_error error = {0};
    inki_file f, before;
    memset(&f, 0x5a, sizeof f);
    before = f;
    for (int copy = 0; copy < 2; copy++) {
        assert_int_equal(inki_os_open_path(&f, path, copy, libc_mem(), &error), status);
        assert_int_equal(error.status, status);
        if (strstr(error.message, word) == NULL || strstr(error.message, path) != error.message)
            fail_msg("\"%s\" does not begin with the path and name \"%s\"", error.message, word);
        assert_memory_equal(&f, &before, sizeof f);
    }
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    path_refused("/nonexistent/model.gguf", INK_E_NOT_FOUND, "no such file");
    path_refused(folder, INK_E_IO, "directory");
    put_file(in_folder("empty"), "", 0);
    path_refused(in_folder("empty"), INK_E_IO, "empty");
    path_refused("/dev/zero", INK_E_IO, "regular");
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    path_refused(in_folder("fifo"), INK_E_IO, "regular"); // without waiting for a writer
    put_file(in_folder("plain"), "x", 1);
    path_refused(in_folder("plain/below"), INK_E_NOT_FOUND, "not a folder");
}

// Every offset around a page and every length at the end: mapped at multiples of 4, else copied.
static void ranges_of_a_descriptor(void **state) {
    (void)state;
    enum { N = 3 * 65536 + 11 };
    char *text = malloc(N);
    assert_non_null(text);
    for (size_t i = 0; i < N; i++) text[i] = (char)(i * 31 % 251);
    put_file(in_folder("big"), text, N);
    static const uint64_t offsets[] = {0,    1,    2,     3,     4,     4092, 4095,
                                       4096, 4097, 65536, 65540, N - 4, N - 1};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        for (uint64_t n = 0; n <= N - offsets[i]; n += 1 + (N - offsets[i]) / 3) {
            const int fd = open(in_folder("big"), O_RDONLY);
            lseek(fd, 77, SEEK_SET);
            inki_file f = {0};
            assert_int_equal(inki_os_open_fd(&f, fd, offsets[i], n, false, libc_mem(), NULL),
                             INK_OK);
            assert_int_equal(lseek(fd, 0, SEEK_CUR), 77); // the descriptor is left as it was
            close(fd);
            const size_t wanted = (size_t)(n == 0 ? N - offsets[i] : n);
            assert_int_equal(f.bytes, wanted);
            assert_memory_equal(f.data, text + offsets[i], wanted);
            assert_int_equal(f.map != NULL, offsets[i] % 4 == 0);
            assert_int_equal((uintptr_t)f.data % 4, 0);
            inki_os_close(&f);
        }
    free(text);
}

static void wrong_ranges(void **state) {
    (void)state;
    put_file(in_folder("ten"), "0123456789", 10);
    const int fd = open(in_folder("ten"), O_RDONLY);
    static const struct {
        uint64_t offset, n;
        ink_status status;
    } cases[] = {{11, 0, INK_E_ARG}, {0, 11, INK_E_ARG},
                 {4, 7, INK_E_ARG},  {4, UINT64_MAX, INK_E_ARG},
                 {10, 0, INK_E_IO},  {UINT64_MAX, UINT64_MAX, INK_E_ARG}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        inki_file f = {0};
        ink_error error = {0};
        assert_int_equal(
            inki_os_open_fd(&f, fd, cases[i].offset, cases[i].n, false, libc_mem(), &error),
            cases[i].status);
        assert_non_null(strstr(error.message, "range"));
        assert_null(f.data);
    }
    close(fd);
    inki_file f = {0};
    ink_error error = {0};
    assert_int_equal(inki_os_open_fd(&f, fd, 0, 0, false, libc_mem(), &error), INK_E_IO); // closed
    assert_non_null(strstr(error.message, "not open"));
    const int write_only = open(in_folder("ten"), O_WRONLY);
    for (int copy = 0; copy < 2; copy++)
        assert_int_equal(inki_os_open_fd(&f, write_only, 0, 0, copy, libc_mem(), &error), INK_E_IO);
    close(write_only);
}

static void copy_without_memory(void **state) {
    (void)state;
    put_file(in_folder("c"), "hello", 5);
    heap h = {0};
    h.fail_at = 1;
    const ink_allocator a = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&a);
    inki_file f = {0};
    ink_error error = {0};
    assert_int_equal(inki_os_open_path(&f, in_folder("c"), true, &mem, &error), INK_E_NOMEM);
    h.fail_at = 0;
    assert_int_equal(inki_os_open_path(&f, in_folder("c"), true, &mem, &error), INK_OK);
    inki_os_close(&f);
    assert_int_equal(h.live_bytes, 0);
    assert_int_equal(h.wrong_releases, 0);
}

static void out_appears_whole(void **state) {
    (void)state;
    const size_t before = n_entries();
    inki_out out;
    assert_int_equal(inki_out_open(&out, in_folder("new"), libc_mem(), NULL), INK_OK);
    assert_int_equal(inki_out_write(&out, "one two", 7, NULL), INK_OK);
    assert_int_equal(inki_out_write_at(&out, 4, "2", 1, NULL), INK_OK);
    assert_int_equal(inki_out_write(&out, " three", 6, NULL), INK_OK); // goes on at the end
    assert_int_equal(out.at, 13);
    assert_int_equal(access(in_folder("new"), F_OK), -1);
    assert_int_equal(inki_out_commit(&out, NULL), INK_OK);
    holds(in_folder("new"), "one 2wo three");
    assert_int_equal(n_entries(), before + 1);
    inki_out_discard(&out);
    holds(in_folder("new"), "one 2wo three");
    ink_error error = {0};
    assert_int_equal(inki_out_write(&out, "x", 1, &error), INK_E_ARG);
    assert_int_equal(inki_out_commit(&out, &error), INK_E_ARG);
}

static void out_discarded_leaves_nothing(void **state) {
    (void)state;
    put_file(in_folder("old"), "old", 3);
    const size_t before = n_entries();
    inki_out out;
    assert_int_equal(inki_out_open(&out, in_folder("old"), libc_mem(), NULL), INK_OK);
    assert_int_equal(inki_out_write(&out, "new", 3, NULL), INK_OK);
    assert_int_equal(n_entries(), before + 1);
    inki_out_discard(&out);
    holds(in_folder("old"), "old");
    assert_int_equal(n_entries(), before);
    inki_out zero = {0};
    const int zero_was_open = fcntl(0, F_GETFD) >= 0;
    inki_out_discard(&zero); // must not close descriptor 0
    assert_int_equal(fcntl(0, F_GETFD) >= 0, zero_was_open);
}

static void out_write_at_stays_inside(void **state) {
    (void)state;
    inki_out out;
    ink_error error = {0};
    assert_int_equal(inki_out_open(&out, in_folder("inside"), libc_mem(), NULL), INK_OK);
    assert_int_equal(inki_out_write(&out, "1234", 4, NULL), INK_OK);
    assert_int_equal(inki_out_write_at(&out, 3, "xx", 2, &error), INK_E_ARG);
    assert_int_equal(inki_out_write_at(&out, 5, "", 0, &error), INK_E_ARG);
    assert_int_equal(inki_out_write_at(&out, UINT64_MAX, "xx", 2, &error), INK_E_ARG);
    inki_out_discard(&out);
}

static void out_mode_follows_the_umask(void **state) {
    (void)state;
    const mode_t old = umask(027);
    inki_out out;
    struct stat st;
    assert_int_equal(inki_out_open(&out, in_folder("mode"), libc_mem(), NULL), INK_OK);
    assert_true((fcntl(out.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(inki_out_commit(&out, NULL), INK_OK);
    umask(old);
    assert_int_equal(stat(in_folder("mode"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void out_refused(const char *path, const char *word) {
    inki_out out, before;
    ink_error error = {0};
    memset(&out, 0x5a, sizeof out);
    before = out;
    assert_int_equal(inki_out_open(&out, path, libc_mem(), &error), INK_E_IO);
    if (strstr(error.message, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.message, word);
    assert_memory_equal(&out, &before, sizeof out);
}

static void out_where_it_cannot_be(void **state) {
    (void)state;
    out_refused("", "empty");
    out_refused(folder, "directory");
    out_refused(in_folder("x/"), "directory");
    out_refused(in_folder("missing/x"), "no such file or folder");
    put_file(in_folder("file"), "x", 1);
    out_refused(in_folder("file/x"), "not a folder");
    out_refused("/proc/inkling-test", "no such file");
    char *longest = malloc(5001);
    assert_non_null(longest);
    memset(longest, 'a', 5000);
    longest[5000] = 0;
    out_refused(longest, "too long");
    longest[300] = 0; // one part over 255
    out_refused(longest, "too long");
    free(longest);
    assert_int_equal(symlink(in_folder("loop"), in_folder("loop")), 0);
    out_refused(in_folder("loop"), "symbolic links");
}

// What the rights of a file forbid is open to root, so a child without its rights looks.
static int refused_by_rights(void) {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 10;
    ink_error error = {0};
    inki_file f = {0};
    inki_out out;
    if (inki_os_open_path(&f, in_folder("secret"), false, libc_mem(), &error) != INK_E_IO) return 1;
    if (strstr(error.message, "permission denied") == NULL) return 2;
    if (inki_out_open(&out, in_folder("frozen"), libc_mem(), &error) != INK_E_IO) return 3;
    if (strstr(error.message, "permission denied") == NULL) return 4;
    if (inki_out_open(&out, "/inkling-test", libc_mem(), &error) != INK_E_IO) return 5;
    if (strstr(error.message, "permission denied") == NULL) return 6;
    return inki_out_open(&out, in_folder("free"), libc_mem(), &error) != INK_OK
               ? 7
               : (inki_out_discard(&out), 0);
}

static void rights_are_respected(void **state) {
    (void)state;
    put_file(in_folder("secret"), "x", 1);
    put_file(in_folder("frozen"), "x", 1);
    assert_int_equal(chmod(in_folder("secret"), 0), 0);
    assert_int_equal(chmod(in_folder("frozen"), 0444), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    const pid_t child = fork();
    if (child == 0) _exit(refused_by_rights());
    int result = -1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(WEXITSTATUS(result), 0);
    holds(in_folder("frozen"), "x");
}

// The longest name that a folder may hold: the temporary one may not be longer.
static void out_longest_name(void **state) {
    (void)state;
    char name[256];
    memset(name, 'n', 255);
    name[255] = 0;
    inki_out out;
    assert_int_equal(inki_out_open(&out, in_folder(name), libc_mem(), NULL), INK_OK);
    assert_int_equal(inki_out_commit(&out, NULL), INK_OK);
    assert_int_equal(access(in_folder(name), F_OK), 0);
}

static void out_through_links(void **state) {
    (void)state;
    put_file(in_folder("target"), "old", 3);
    assert_int_equal(symlink("target", in_folder("link1")), 0);
    assert_int_equal(symlink(in_folder("link1"), in_folder("link2")), 0);
    assert_int_equal(symlink("not-yet", in_folder("dangling")), 0);
    const char *const links[] = {"link2", "dangling"}, *const files[] = {"target", "not-yet"};
    for (size_t i = 0; i < 2; i++) {
        inki_out out;
        struct stat st;
        assert_int_equal(inki_out_open(&out, in_folder(links[i]), libc_mem(), NULL), INK_OK);
        assert_int_equal(inki_out_write(&out, "new", 3, NULL), INK_OK);
        assert_int_equal(inki_out_commit(&out, NULL), INK_OK);
        assert_int_equal(lstat(in_folder(links[i]), &st), 0);
        assert_true(S_ISLNK(st.st_mode));
        assert_int_equal(lstat(in_folder(files[i]), &st), 0);
        assert_true(S_ISREG(st.st_mode));
        holds(in_folder(files[i]), "new");
    }
}

static void out_to_a_full_disk(void **state) {
    (void)state;
    inki_out out;
    ink_error error = {0};
    assert_int_equal(inki_out_open(&out, "/dev/full", libc_mem(), &error), INK_OK);
    assert_int_equal(inki_out_write(&out, "x", 1, &error), INK_E_IO);
    assert_non_null(strstr(error.message, "/dev/full"));
    assert_non_null(strstr(error.message, "no space left on device"));
    inki_out_discard(&out);
    assert_int_equal(access("/dev/full", F_OK), 0);
    assert_int_equal(inki_out_open(&out, "/dev/null", libc_mem(), &error), INK_OK);
    assert_int_equal(inki_out_write(&out, "x", 1, &error), INK_OK);
    assert_int_equal(inki_out_commit(&out, &error), INK_OK);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void tick(int signal_number) { (void)signal_number; }

// A slow reader of a pipe and a timer whose handler interrupts: short writes and EINTR.
static void out_to_a_pipe_with_signals(void **state) {
    (void)state;
    enum { N = 400000 };
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const int fd = open(in_folder("pipe"), O_RDONLY);
        unsigned char part[4096];
        size_t total = 0, wrong = 0;
        for (ssize_t n; (n = read(fd, part, sizeof part)) > 0; total += (size_t)n) {
            for (ssize_t i = 0; i < n; i++) wrong += part[i] != (total + (size_t)i) % 253;
            usleep(500);
        }
        _exit(total == N && wrong == 0 ? 0 : 1);
    }
    struct sigaction action = {.sa_handler = tick}, before; // without SA_RESTART
    sigaction(SIGALRM, &action, &before);
    const struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
    unsigned char *data = malloc(N);
    assert_non_null(data);
    for (size_t i = 0; i < N; i++) data[i] = (unsigned char)(i % 253);
    inki_out out;
    ink_error error = {0};
    setitimer(ITIMER_REAL, &often, NULL);
    assert_int_equal(inki_out_open(&out, in_folder("pipe"), libc_mem(), &error), INK_OK);
    const ink_status status = inki_out_write(&out, data, N, &error);
    const ink_status end = inki_out_commit(&out, &error);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    free(data);
    assert_int_equal(status, INK_OK);
    assert_int_equal(end, INK_OK);
    int result = -1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
}

static void out_whose_folder_goes_away(void **state) {
    (void)state;
    char sub[512], name[600];
    snprintf(sub, sizeof sub, "%s/sub", folder);
    snprintf(name, sizeof name, "%s/out", sub);
    assert_int_equal(mkdir(sub, 0700), 0);
    inki_out out;
    ink_error error = {0};
    assert_int_equal(inki_out_open(&out, name, libc_mem(), &error), INK_OK);
    assert_int_equal(unlink(out.temporary), 0);
    assert_int_equal(rmdir(sub), 0);
    assert_int_equal(inki_out_commit(&out, &error), INK_E_IO);
    assert_non_null(strstr(error.message, "no such file"));
    assert_int_equal(out.fd, -1);
}

static void out_without_memory(void **state) {
    (void)state;
    const size_t before = n_entries();
    heap h = {0};
    const ink_allocator a = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&a);
    for (size_t at = 1; at < 10; at++) {
        inki_out out = {0};
        h.fail_at = at;
        h.n_allocs = 0;
        const ink_status status = inki_out_open(&out, in_folder("nomem"), &mem, NULL);
        if (status == INK_OK) {
            assert_true(at > 1);
            inki_out_discard(&out);
            assert_int_equal(h.live_bytes, 0);
            assert_int_equal(h.wrong_releases, 0);
            return;
        }
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(h.live_bytes, 0);
        assert_int_equal(n_entries(), before);
    }
    fail_msg("%s", "ten allocations to open a file");
}

static double system_now_ms(void) {
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void clock_and_the_rest(void **state) {
    (void)state;
    // Between two looks at the system's clock lies as much time as between ours around them, and no
    // less than between ours inside of them; half a millisecond for the rounding.
    const double outer0 = inki_os_now_ms(), system0 = system_now_ms(), inner0 = inki_os_now_ms();
    double inner, system_now;
    do {
        usleep(1000);
        inner = inki_os_now_ms();
        system_now = system_now_ms();
    } while (system_now - system0 < 20);
    const double outer = inki_os_now_ms();
    assert_true(inner - inner0 <= system_now - system0 + 0.5);
    assert_true(outer - outer0 >= system_now - system0 - 0.5);
    uint64_t all = 0, common = UINT64_MAX, last = 0;
    for (int i = 0; i < 100; i++) {
        const uint64_t r = inki_os_random();
        assert_true(i == 0 || r != last);
        last = r;
        all |= r;
        common &= r;
    }
    assert_true(all == UINT64_MAX && common == 0);
    assert_int_equal(inki_os_pid(), getpid());
}

// Runs in a child, since the affinity of the process changes.
static void cpus_follow_the_affinity(void **state) {
    (void)state;
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    assert_int_equal(inki_os_n_cpus(), CPU_COUNT(&set));
    size_t first = 0;
    while (!CPU_ISSET(first, &set)) first++;
    const pid_t child = fork();
    if (child == 0) {
        CPU_ZERO(&set);
        CPU_SET(first, &set);
        _exit(sched_setaffinity(0, sizeof set, &set) == 0 ? (int)inki_os_n_cpus() : 100);
    }
    int result = -1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(WEXITSTATUS(result), 1);
}

static void error_words(void **state) {
    (void)state;
    char text[64], small[8];
    inki_os_error_text(ENOSPC, text, sizeof text);
    assert_string_equal(text, "no space left on device");
    inki_os_error_text(4095, text, sizeof text);
    assert_string_equal(text, "error 4095 of the system");
    inki_os_error_text(ENOSPC, small, sizeof small);
    assert_string_equal(small, "no spac");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_path_gives_the_bytes),
        cmocka_unit_test(a_copy_is_one),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(ranges_of_a_descriptor),
        cmocka_unit_test(wrong_ranges),
        cmocka_unit_test(copy_without_memory),
        cmocka_unit_test(out_appears_whole),
        cmocka_unit_test(out_discarded_leaves_nothing),
        cmocka_unit_test(out_write_at_stays_inside),
        cmocka_unit_test(out_mode_follows_the_umask),
        cmocka_unit_test(out_where_it_cannot_be),
        cmocka_unit_test(out_longest_name),
        cmocka_unit_test(out_through_links),
        cmocka_unit_test(out_to_a_full_disk),
        cmocka_unit_test(out_to_a_pipe_with_signals),
        cmocka_unit_test(out_whose_folder_goes_away),
        cmocka_unit_test(out_without_memory),
        cmocka_unit_test(clock_and_the_rest),
        cmocka_unit_test(cpus_follow_the_affinity),
        cmocka_unit_test(error_words),
        cmocka_unit_test(rights_are_respected),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
