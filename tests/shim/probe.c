// Writes below the directory given, with and without syncing, and kills itself: what a test of the shim starts from.
// Names say what must be left of them.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void check(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static int file(const char *name, const char *text, int flags) {
    int fd = open(name, O_WRONLY | O_CREAT | flags, 0644);
    check(fd >= 0, name);
    check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), name);
    return fd;
}

static void sync_directory(const char *name) {
    int fd = open(name, O_RDONLY | O_DIRECTORY);
    check(fd >= 0 && fsync(fd) == 0, name);
    close(fd);
}

int main(int argc, char **argv) {
    check(argc == 2 && chdir(argv[1]) == 0, "chdir");

    int fd = file("appended", "kept", 0);
    fsync(fd);
    check(write(fd, " lost", 5) == 5, "append");

    fd = file("overwritten", "0123456789", 0);
    fdatasync(fd);
    check(pwrite(fd, "XX", 2, 3) == 2, "overwrite");

    fd = file("overwritten-and-synced", "0123456789", 0);
    fdatasync(fd);
    check(pwrite(fd, "XX", 2, 3) == 2, "overwrite");
    fdatasync(fd);

    fd = file("truncated", "whole", 0);
    fsync(fd);
    close(file("truncated", "new", O_TRUNC));

    fd = file("written-back-only", "gone", 0);
    sync_file_range(fd, 0, 0, 0);

    fsync(file("replaced", "old", 0));
    fsync(file("replaced-and-synced", "old", 0));
    fsync(file("unlinked", "back", 0));
    fsync(file("unlinked-and-synced", "gone", 0));
    fsync(file("old-name", "here", 0));
    check(mkdir("directory", 0755) == 0, "mkdir");
    sync_directory(".");
    fsync(file("directory/entry-not-synced", "gone", 0));

    fsync(file("replacement", "new", 0));
    check(rename("replacement", "replaced-and-synced") == 0, "rename");
    check(unlink("unlinked-and-synced") == 0, "unlink");
    sync_directory(".");

    fsync(file("replacement", "new", 0));
    check(rename("replacement", "replaced") == 0, "rename");
    check(unlink("unlinked") == 0, "unlink");
    check(rename("old-name", "new-name") == 0, "rename");
    check(mkdir("directory-not-synced", 0755) == 0, "mkdir");
    fsync(file("directory-not-synced/file", "gone", 0));
    sync_directory("directory-not-synced");

    raise(SIGKILL);
}
