/* Stands before the C library in a server under test (LD_PRELOAD): as soon as the file exists that FAIL_WHEN names, the
 * disk fails. FAIL_WHAT says what fails then: "sync" or "write", of segments of the journal alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int file, const char *what) {
    const char *when = getenv("FAIL_WHEN"), *which = getenv("FAIL_WHAT");
    char link[64], name[4096];
    ssize_t length;
    if (when == NULL || which == NULL || strcmp(which, what) != 0 || access(when, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = readlink(link, name, sizeof name - 1);
    if (length <= 0)
        return 0;
    name[length] = 0;
    return strstr(name, "/journal-") != NULL;
}

int fdatasync(int file) {
    static int (*of_the_library)(int);
    if (of_the_library == NULL)
        of_the_library = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (fails(file, "sync")) {
        errno = EIO;
        return -1;
    }
    return of_the_library(file);
}

ssize_t write(int file, const void *bytes, size_t count) {
    static ssize_t (*of_the_library)(int, const void *, size_t);
    if (of_the_library == NULL)
        of_the_library = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (fails(file, "write")) {
        errno = EIO;
        return -1;
    }
    return of_the_library(file, bytes, count);
}
