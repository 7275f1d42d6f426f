/* Faults under one folder, for tests: preloaded, it counts file operations whose path begins with a root, and at the k-th
   kills the process, tears the write, fails with an errno, sends a signal, or waits. It also writes a trace, from which the
   power-loss model replays what the disk would have seen. Until fault_arm() is called it does nothing.

   Kinds of operations: c create or truncate by opening, o open what exists, w write, r read, s sync, n rename, l link,
   u unlink, m make a folder, t truncate. Only kinds that were armed are counted. Processes that are forked later count on; the
   one that armed is their owner, which can be killed or signalled in place of the one that does the operation, or with it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX], kinds[32], action[16];
static long target;
static int error_number, sticky, trace = -1;
static atomic_long *counted; /* shared with the processes that are forked later */
static pid_t owner;
static atomic_int armed;

void fault_arm(const char *where, const char *which, long at, const char *what, int number, int stays, const char *trace_path) {
    snprintf(root, sizeof root, "%s", where);
    snprintf(kinds, sizeof kinds, "%s", which);
    snprintf(action, sizeof action, "%s", what);
    target = at, error_number = number, sticky = stays;
    if (!counted) counted = mmap(NULL, sizeof *counted, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    atomic_store(counted, 0);
    owner = getpid();
    if (*trace_path) trace = (int)syscall(SYS_openat, AT_FDCWD, trace_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    atomic_store(&armed, 1);
}

long fault_counted(void) { return atomic_load(counted); }


static int under_root(const char *path) {
    size_t length = strlen(root);
    return atomic_load(&armed) && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static void path_of(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    out[length < 0 ? 0 : length] = 0;
}

static void resolve(int folder, const char *path, char *out) {
    if (*path == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, out, PATH_MAX) < 0) *out = 0;
    } else {
        path_of(folder, out);
    }
    size_t length = strlen(out);
    snprintf(out + length, PATH_MAX - length, "/%s", path);
}

/* 0: go on; 1: fail with error_number; 2: tear this write, then die. */
static int step(char kind) {
    if (!strchr(kinds, kind)) return 0;
    long now = atomic_fetch_add(counted, 1) + 1;
    if (!target || now < target || (now > target && !sticky)) return 0;
    if (!strcmp(action, "kill")) kill(getpid(), SIGKILL);
    if (!strcmp(action, "torn")) {
        if (kind == 'w') return 2;
        kill(getpid(), SIGKILL);
    }
    if (!strcmp(action, "term") && now == target) kill(getpid(), SIGTERM);
    if (!strcmp(action, "term owner") && now == target) kill(owner, SIGTERM);
    if (!strcmp(action, "kill owner") || !strcmp(action, "kill both")) kill(owner, SIGKILL);
    if (!strcmp(action, "kill both")) kill(getpid(), SIGKILL);
    if (!strcmp(action, "delay")) usleep(200000);
    return !strcmp(action, "fail");
}

static void note(const char *format, ...) {
    if (trace < 0) return;
    char line[3 * PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    syscall(SYS_write, trace, line, length);
}

static unsigned long inode(int fd) {
    struct stat status;
    return fstat(fd, &status) ? 0 : (unsigned long)status.st_ino;
}

static void note_data(int fd, long offset, const void *data, long length) {
    if (trace < 0 || length <= 0) return;
    static const char digits[] = "0123456789abcdef";
    char *line = malloc(2 * length + 96);
    int begin = sprintf(line, "write\t%lu\t%ld\t", inode(fd), offset);
    for (long i = 0; i < length; i++) {
        unsigned char byte = ((const unsigned char *)data)[i];
        line[begin + 2 * i] = digits[byte >> 4];
        line[begin + 2 * i + 1] = digits[byte & 15];
    }
    line[begin + 2 * length] = '\n';
    syscall(SYS_write, trace, line, begin + 2 * length + 1);
    free(line);
}

static int do_open(int folder, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    resolve(folder, path, full);
    if (!under_root(full)) return (int)syscall(SYS_openat, folder, path, flags, mode);
    struct stat status;
    int was = !lstat(full, &status);
    int makes = (flags & O_TRUNC) || ((flags & O_CREAT) && !was);
    if (step(makes ? 'c' : 'o')) return errno = error_number, -1;
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0 && makes) note("%s\t%lu\t%s\n", was ? "truncate0" : "create", inode(fd), full);
    return fd;
}

#define MODE                          \
    mode_t mode = 0;                  \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list arguments;            \
        va_start(arguments, flags);   \
        mode = va_arg(arguments, mode_t); \
        va_end(arguments);            \
    }

int open(const char *path, int flags, ...) { MODE return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return do_open(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return do_open(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return do_open(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static ssize_t torn_write(int fd, const void *data, size_t length, long offset) {
    syscall(SYS_pwrite64, fd, data, length / 2, offset);
    kill(getpid(), SIGKILL);
    return -1;
}

ssize_t write(int fd, const void *data, size_t length) {
    char path[PATH_MAX];
    if (!atomic_load(&armed) || (path_of(fd, path), !under_root(path))) return syscall(SYS_write, fd, data, length);
    struct stat status;
    long offset = lseek(fd, 0, SEEK_CUR);
    if ((fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &status)) offset = status.st_size;
    int what = step('w');
    if (what == 1) return errno = error_number, -1;
    if (what == 2) return torn_write(fd, data, length, offset);
    ssize_t done = syscall(SYS_write, fd, data, length);
    note_data(fd, offset, data, done);
    return done;
}

static ssize_t do_pwrite(int fd, const void *data, size_t length, off_t offset) {
    char path[PATH_MAX];
    if (!atomic_load(&armed) || (path_of(fd, path), !under_root(path))) return syscall(SYS_pwrite64, fd, data, length, offset);
    int what = step('w');
    if (what == 1) return errno = error_number, -1;
    if (what == 2) return torn_write(fd, data, length, offset);
    ssize_t done = syscall(SYS_pwrite64, fd, data, length, offset);
    note_data(fd, offset, data, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return do_pwrite(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return do_pwrite(fd, data, length, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t done = 0;
    char path[PATH_MAX];
    if (!atomic_load(&armed) || (path_of(fd, path), !under_root(path))) return syscall(SYS_writev, fd, parts, count);
    for (int i = 0; i < count; i++) {
        ssize_t part = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (part < 0) return done ? done : -1;
        done += part;
    }
    return done;
}

ssize_t read(int fd, void *data, size_t length) {
    char path[PATH_MAX];
    if (atomic_load(&armed) && (path_of(fd, path), under_root(path)) && step('r')) return errno = error_number, -1;
    return syscall(SYS_read, fd, data, length);
}

static ssize_t do_pread(int fd, void *data, size_t length, off_t offset) {
    char path[PATH_MAX];
    if (atomic_load(&armed) && (path_of(fd, path), under_root(path)) && step('r')) return errno = error_number, -1;
    return syscall(SYS_pread64, fd, data, length, offset);
}
ssize_t pread(int fd, void *data, size_t length, off_t offset) { return do_pread(fd, data, length, offset); }
ssize_t pread64(int fd, void *data, size_t length, off_t offset) { return do_pread(fd, data, length, offset); }

static int do_sync(int fd, int number) {
    char path[PATH_MAX];
    if (!atomic_load(&armed) || (path_of(fd, path), !under_root(path))) return (int)syscall(number, fd);
    if (step('s')) return errno = error_number, -1;
    int done = (int)syscall(number, fd);
    if (!done) note("sync\t%lu\t%s\n", inode(fd), path);
    return done;
}
int fsync(int fd) { return do_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }

static int do_rename(int from, const char *old, int to, const char *new, unsigned flags) {
    char full_old[PATH_MAX], full_new[PATH_MAX];
    resolve(from, old, full_old), resolve(to, new, full_new);
    if (!under_root(full_old) && !under_root(full_new)) return (int)syscall(SYS_renameat2, from, old, to, new, flags);
    if (step('n')) return errno = error_number, -1;
    int done = (int)syscall(SYS_renameat2, from, old, to, new, flags);
    if (!done) note("rename\t%s\t%s\n", full_old, full_new);
    return done;
}
int rename(const char *old, const char *new) { return do_rename(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return do_rename(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return do_rename(from, old, to, new, flags); }

static int do_link(int from, const char *old, int to, const char *new, int flags) {
    char full_old[PATH_MAX], full_new[PATH_MAX];
    resolve(from, old, full_old), resolve(to, new, full_new);
    if (!under_root(full_new)) return (int)syscall(SYS_linkat, from, old, to, new, flags);
    if (step('l')) return errno = error_number, -1;
    int done = (int)syscall(SYS_linkat, from, old, to, new, flags);
    if (!done) note("link\t%s\t%s\n", full_old, full_new);
    return done;
}
int link(const char *old, const char *new) { return do_link(AT_FDCWD, old, AT_FDCWD, new, 0); }
int linkat(int from, const char *old, int to, const char *new, int flags) { return do_link(from, old, to, new, flags); }

static int do_unlink(int folder, const char *path, int flags) {
    char full[PATH_MAX];
    resolve(folder, path, full);
    if (!under_root(full)) return (int)syscall(SYS_unlinkat, folder, path, flags);
    if (step('u')) return errno = error_number, -1;
    int done = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (!done) note("unlink\t%s\n", full);
    return done;
}
int unlink(const char *path) { return do_unlink(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return do_unlink(folder, path, flags); }
int rmdir(const char *path) { return do_unlink(AT_FDCWD, path, AT_REMOVEDIR); }

static int do_mkdir(int folder, const char *path, mode_t mode) {
    char full[PATH_MAX];
    resolve(folder, path, full);
    if (!under_root(full)) return (int)syscall(SYS_mkdirat, folder, path, mode);
    if (step('m')) return errno = error_number, -1;
    int done = (int)syscall(SYS_mkdirat, folder, path, mode);
    if (!done) note("mkdir\t%s\n", full);
    return done;
}
int mkdir(const char *path, mode_t mode) { return do_mkdir(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return do_mkdir(folder, path, mode); }

static int do_truncate(int fd, off_t length) {
    char path[PATH_MAX];
    if (!atomic_load(&armed) || (path_of(fd, path), !under_root(path))) return (int)syscall(SYS_ftruncate, fd, length);
    if (step('t')) return errno = error_number, -1;
    int done = (int)syscall(SYS_ftruncate, fd, length);
    if (!done) note("truncate\t%lu\t%ld\n", inode(fd), (long)length);
    return done;
}
int ftruncate(int fd, off_t length) { return do_truncate(fd, length); }
int ftruncate64(int fd, off_t length) { return do_truncate(fd, length); }
