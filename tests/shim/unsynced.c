// A preload shim that records which bytes below a directory were synced, so that a test can take the others away.
//
// kill -9 alone never tests the sync: what a process wrote stays in the page cache and is there after the restart. With
// this shim the writer works as ever, and the state that a power cut could have left at worst is recorded beside it:
//
//   - of a file only what was there at its last fsync or fdatasync;
//   - of a directory only the entries that were there at its last fsync.
//
// After the kill, `tests/src/crash/rollback.rs` restores that state from the record. The two share this format, all of
// it below UNSYNCED_RECORD:
//
//   journal       one line per change of a directory, tab separated, in order:
//                     create DIR PATH            (also mkdir and link)
//                     unlink DIR KEPT PATH       (KEPT: a hard link to what was there)
//                     rename DIR KEPT OLD NEW    (KEPT: what was at NEW, or -)
//                     rmdir  DIR PATH
//                     sync   DIR                 (what came before for that directory is durable)
//                 DIR is an inode number
//   length.INODE  eight bytes: how long the file was at its last sync
//   image.INODE   the content at its last sync, kept from the moment a later write changes any of it
//   kept.N        hard links named by the journal
//
//   UNSYNCED_ROOT     the directory to watch, absolute
//   UNSYNCED_RECORD   where to record, absolute, on the same file system, outside of the root
//   UNSYNCED_SYNC_US  how long a sync takes, in microseconds: what is not awaited then has time to be caught
//
// The real sync is not called: nothing here survives by it, and rounds are faster without. Reads are untouched. Calls that
// could change a watched file unseen (a shared writable mapping, copy_file_range, ...) end the process with a message.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(type, name, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static char root[PATH_MAX], record[PATH_MAX];
static size_t root_len;
static dev_t root_dev;
static unsigned sync_us;
static int journal = -1;
static int kept_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// Watched files by inode: open addressing, never shrunk; a run of the test opens a few thousand files at most.
#define SLOTS 65536
static struct watched { ino_t inode; off_t synced; int has_image; } files[SLOTS];

static void fail(const char *what, const char *path) {
    dprintf(2, "unsynced shim: %s %s\n", what, path ? path : "");
    _exit(86);
}

// Raw system calls: the record must not pass through the shim itself.
static int raw_open(const char *path, int flags, mode_t mode) { return syscall(SYS_openat, AT_FDCWD, path, flags, mode); }

__attribute__((constructor)) static void start(void) {
    const char *from = getenv("UNSYNCED_ROOT"), *to = getenv("UNSYNCED_RECORD"), *slow = getenv("UNSYNCED_SYNC_US");
    struct stat st;
    if (!from || !to) return;
    if (from[0] != '/' || to[0] != '/' || stat(from, &st) != 0) fail("bad UNSYNCED_ROOT or UNSYNCED_RECORD", from);
    snprintf(root, sizeof root, "%s", from);
    snprintf(record, sizeof record, "%s", to);
    root_len = strlen(root);
    root_dev = st.st_dev;
    sync_us = slow ? atoi(slow) : 0;
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/journal", record);
    journal = raw_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (journal < 0) fail("cannot record in", record);
}

// ---------------------------------------------------------------- paths

// The absolute form of a path below the root, or 0. `.` and `..` are not expected there.
static int watched_path(int dirfd, const char *path, char out[PATH_MAX]) {
    if (journal < 0 || !path) return 0;
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
    } else {
        char base[PATH_MAX];
        if (dirfd == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
            ssize_t n = readlink(link, base, sizeof base - 1);
            if (n < 0) return 0;
            base[n] = 0;
        }
        if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    }
    // RocksDB joins paths with a double slash now and then.
    char *to = out;
    for (char *from = out; *from; from++)
        if (!(from[0] == '/' && from[1] == '/')) *to++ = *from;
    *to = 0;
    if (strncmp(out, root, root_len) != 0 || (out[root_len] != '/' && out[root_len] != 0)) return 0;
    if (strpbrk(out, "\t\n")) fail("a tab or newline in", out);
    return 1;
}

static unsigned long parent_inode(const char *path) {
    char dir[PATH_MAX];
    struct stat st;
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = 0;
    return stat(dir, &st) == 0 ? (unsigned long)st.st_ino : 0;
}

static void note(const char *format, ...) {
    char line[3 * PATH_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (syscall(SYS_write, journal, line, n) != n) fail("cannot write the journal in", record);
}

// A second name for what is about to lose its first one; "-" if there is nothing.
static void keep(const char *path, char name[32]) {
    char to[PATH_MAX + 48];
    snprintf(name, 32, "kept.%d", kept_count++);
    snprintf(to, sizeof to, "%s/%s", record, name);
    if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, to, 0) != 0) {
        if (errno != ENOENT) fail("cannot keep", path);
        strcpy(name, "-");
    }
}

// ---------------------------------------------------------------- files

static struct watched *slot(ino_t inode) {
    for (size_t i = 0, at = inode % SLOTS; i < SLOTS; i++, at = (at + 1) % SLOTS)
        if (files[at].inode == inode || files[at].inode == 0) return &files[at];
    fail("too many files", NULL);
    return NULL;
}

static void save_length(struct watched *file) {
    char path[PATH_MAX + 48];
    int64_t length = file->synced;
    snprintf(path, sizeof path, "%s/length.%lu", record, (unsigned long)file->inode);
    int fd = raw_open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || syscall(SYS_pwrite64, fd, &length, 8, 0) != 8) fail("cannot write", path);
    syscall(SYS_close, fd);
}

// Called when a path was opened for writing. A file that was there before this process is durable as it is; one that it
// made has nothing yet.
static void watch(const char *path, int is_new) {
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return;
    struct watched *file = slot(st.st_ino);
    if (file->inode == st.st_ino && !is_new) return;
    *file = (struct watched){st.st_ino, is_new ? 0 : st.st_size, 0};
    save_length(file);
}

static struct watched *watched_fd(int fd) {
    struct stat st;
    if (journal < 0 || fstat(fd, &st) != 0 || st.st_dev != root_dev || !S_ISREG(st.st_mode)) return NULL;
    struct watched *file = slot(st.st_ino);
    return file->inode == st.st_ino ? file : NULL;
}

// Before synced bytes from `offset` on change: keep the synced content, once until the next sync.
static void before_change(struct watched *file, int fd, off_t offset) {
    if (!file || offset >= file->synced || file->has_image) return;
    char path[PATH_MAX + 48], link[64], buffer[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    // Under another name until it is whole: the kill may come in between, and then the change has not happened either.
    char whole[PATH_MAX + 48];
    snprintf(whole, sizeof whole, "%s/image.%lu", record, (unsigned long)file->inode);
    snprintf(path, sizeof path, "%s/partial.%lu", record, (unsigned long)file->inode);
    int from = raw_open(link, O_RDONLY | O_CLOEXEC, 0), to = raw_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (from < 0 || to < 0) fail("cannot keep an image of", link);
    for (off_t at = 0; at < file->synced;) {
        size_t want = file->synced - at < (off_t)sizeof buffer ? (size_t)(file->synced - at) : sizeof buffer;
        ssize_t n = syscall(SYS_pread64, from, buffer, want, at);
        if (n <= 0 || syscall(SYS_write, to, buffer, n) != n) fail("cannot keep an image in", path);
        at += n;
    }
    syscall(SYS_close, from);
    syscall(SYS_close, to);
    if (syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, whole, 0) != 0) fail("cannot keep an image in", whole);
    file->has_image = 1;
}

static void before_write(int fd) {
    struct watched *file = watched_fd(fd);
    if (!file) return;
    off_t at = fcntl(fd, F_GETFL) & O_APPEND ? file->synced : lseek(fd, 0, SEEK_CUR);
    before_change(file, fd, at);
}

static int synced(int fd) {
    struct stat st;
    if (journal < 0 || fstat(fd, &st) != 0 || st.st_dev != root_dev) return 0;
    // A directory at once: what is noted during the wait is not promised.
    if (S_ISDIR(st.st_mode)) note("sync\t%lu\n", (unsigned long)st.st_ino);
    if (sync_us) usleep(sync_us);
    pthread_mutex_lock(&lock);
    if (S_ISREG(st.st_mode)) {
        struct watched *file = slot(st.st_ino);
        if (file->inode == st.st_ino) {
            // The size from before the wait: what others wrote meanwhile is not promised.
            file->synced = st.st_size;
            if (file->has_image) {
                char path[PATH_MAX + 48];
                snprintf(path, sizeof path, "%s/image.%lu", record, (unsigned long)file->inode);
                syscall(SYS_unlink, path);
                file->has_image = 0;
            }
            save_length(file);
        }
    }
    pthread_mutex_unlock(&lock);
    return 1;
}

// ---------------------------------------------------------------- opening

static int open_watched(int dirfd, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (!writes || (flags & O_TMPFILE) == O_TMPFILE || !watched_path(dirfd, path, full))
        return syscall(SYS_openat, dirfd, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat st;
    int is_new = stat(full, &st) != 0;
    if (!is_new) watch(full, 0);
    if (!is_new && flags & O_TRUNC) {
        int fd = raw_open(full, O_RDONLY | O_CLOEXEC, 0);
        before_change(watched_fd(fd), fd, 0);
        syscall(SYS_close, fd);
    }
    int fd = syscall(SYS_openat, dirfd, path, flags, mode);
    int error = errno;
    if (fd >= 0 && is_new) {
        note("create\t%lu\t%s\n", parent_inode(full), full);
        watch(full, 1);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define OPEN_MODE                                                                                                      \
    mode_t mode = 0;                                                                                                   \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {                                                         \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode = va_arg(args, mode_t);                                                                                   \
        va_end(args);                                                                                                  \
    }

int open(const char *path, int flags, ...) { OPEN_MODE return open_watched(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN_MODE return open_watched(AT_FDCWD, path, flags, mode); }
int openat(int dirfd, const char *path, int flags, ...) { OPEN_MODE return open_watched(dirfd, path, flags, mode); }
int openat64(int dirfd, const char *path, int flags, ...) { OPEN_MODE return open_watched(dirfd, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_watched(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_watched(AT_FDCWD, path, flags, 0); }
int __openat_2(int dirfd, const char *path, int flags) { return open_watched(dirfd, path, flags, 0); }
int __openat64_2(int dirfd, const char *path, int flags) { return open_watched(dirfd, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_watched(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_watched(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

// ---------------------------------------------------------------- writing

#define WITH_LOCK(before, call)                                                                                        \
    if (journal < 0) return call;                                                                                      \
    pthread_mutex_lock(&lock);                                                                                         \
    before;                                                                                                            \
    pthread_mutex_unlock(&lock);                                                                                       \
    return call;

ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    WITH_LOCK(before_write(fd), real(fd, data, n))
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    WITH_LOCK(before_write(fd), real(fd, parts, n))
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    WITH_LOCK(before_change(watched_fd(fd), fd, at), real(fd, data, n, at))
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { return pwrite(fd, data, n, at); }
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) {
    REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
    WITH_LOCK(before_change(watched_fd(fd), fd, at), real(fd, parts, n, at))
}
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) { return pwritev(fd, parts, n, at); }
int ftruncate(int fd, off_t length) {
    REAL(int, ftruncate, int, off_t);
    WITH_LOCK(before_change(watched_fd(fd), fd, length), real(fd, length))
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }
int truncate(const char *path, off_t length) {
    int fd = open_watched(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int result = ftruncate(fd, length);
    close(fd);
    return result;
}
int truncate64(const char *path, off64_t length) { return truncate(path, length); }
int fallocate(int fd, int mode, off_t at, off_t length) {
    REAL(int, fallocate, int, int, off_t, off_t);
    // Allocating changes no byte; the other modes punch holes or shift what is there.
    WITH_LOCK(if (mode & ~FALLOC_FL_KEEP_SIZE) before_change(watched_fd(fd), fd, at), real(fd, mode, at, length))
}
int fallocate64(int fd, int mode, off64_t at, off64_t length) { return fallocate(fd, mode, at, length); }

// ---------------------------------------------------------------- syncing

int fsync(int fd) {
    REAL(int, fsync, int);
    return synced(fd) ? 0 : real(fd);
}
int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return synced(fd) ? 0 : real(fd);
}
// Starts writing back, waits for some of it, and promises nothing about a power cut.
int sync_file_range(int fd, off64_t at, off64_t length, unsigned flags) {
    (void)fd, (void)at, (void)length, (void)flags;
    return 0;
}

// ---------------------------------------------------------------- directories

int mkdirat(int dirfd, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (!watched_path(dirfd, path, full)) return syscall(SYS_mkdirat, dirfd, path, mode);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_mkdirat, dirfd, path, mode), error = errno;
    if (result == 0) note("create\t%lu\t%s\n", parent_inode(full), full);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int dirfd, const char *path, int flags) {
    char full[PATH_MAX], kept[32];
    if (!watched_path(dirfd, path, full)) return syscall(SYS_unlinkat, dirfd, path, flags);
    pthread_mutex_lock(&lock);
    if (!(flags & AT_REMOVEDIR)) keep(full, kept);
    unsigned long dir = parent_inode(full);
    int result = syscall(SYS_unlinkat, dirfd, path, flags), error = errno;
    if (result == 0 && flags & AT_REMOVEDIR) note("rmdir\t%lu\t%s\n", dir, full);
    if (result == 0 && !(flags & AT_REMOVEDIR)) note("unlink\t%lu\t%s\t%s\n", dir, kept, full);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    struct stat st;
    if (lstat(path, &st) != 0) return -1;
    return unlinkat(AT_FDCWD, path, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
}

int renameat2(int old_dirfd, const char *old, int new_dirfd, const char *new, unsigned flags) {
    char from[PATH_MAX], to[PATH_MAX], kept[32] = "-";
    int old_in = watched_path(old_dirfd, old, from), new_in = watched_path(new_dirfd, new, to);
    if (old_in != new_in || (old_in && flags)) fail("unsupported rename of", old);
    if (!old_in) return syscall(SYS_renameat2, old_dirfd, old, new_dirfd, new, flags);
    pthread_mutex_lock(&lock);
    struct stat st;
    if (stat(to, &st) == 0 && !S_ISDIR(st.st_mode)) keep(to, kept);
    int result = syscall(SYS_renameat2, old_dirfd, old, new_dirfd, new, flags), error = errno;
    if (result == 0) note("rename\t%lu\t%s\t%s\t%s\n", parent_inode(to), kept, from, to);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int old_dirfd, const char *old, int new_dirfd, const char *new) { return renameat2(old_dirfd, old, new_dirfd, new, 0); }

int linkat(int old_dirfd, const char *old, int new_dirfd, const char *new, int flags) {
    char to[PATH_MAX];
    if (!watched_path(new_dirfd, new, to)) return syscall(SYS_linkat, old_dirfd, old, new_dirfd, new, flags);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_linkat, old_dirfd, old, new_dirfd, new, flags), error = errno;
    if (result == 0) note("create\t%lu\t%s\n", parent_inode(to), to);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

// ---------------------------------------------------------------- what would go unseen

// The queue of the audit log counts only as long as the machine runs: the rollback takes all of it away.
static int is_audit_queue(int fd) {
    static const char name[] = "/audit/queue";
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    size_t name_length = sizeof name - 1;
    return length > (ssize_t)name_length && memcmp(path + length - name_length, name, name_length) == 0;
}

void *mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset) {
    if (fd >= 0 && prot & PROT_WRITE && flags & MAP_SHARED && watched_fd(fd) && !is_audit_queue(fd)) fail("a shared writable mapping is not covered", NULL);
    return (void *)syscall(SYS_mmap, at, length, prot, flags, fd, offset);
}
void *mmap64(void *at, size_t length, int prot, int flags, int fd, off64_t offset) { return mmap(at, length, prot, flags, fd, offset); }
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t n, unsigned flags) {
    if (watched_fd(to)) fail("copy_file_range is not covered", NULL);
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, n, flags);
}
ssize_t sendfile(int to, int from, off_t *at, size_t n) {
    if (watched_fd(to)) fail("sendfile is not covered", NULL);
    return syscall(SYS_sendfile, to, from, at, n);
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t n) { return sendfile(to, from, at, n); }
