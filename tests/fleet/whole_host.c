/* Preloaded in a container that plays a host: its pid namespace then has the number of the initial one, by which disk-guard tells
 * whether it sees every process. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <fcntl.h>
#include <unistd.h>

static const unsigned long long initial = 0xEFFFFFFCULL; /* PROC_PID_INIT_INO */

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *status) {
    long result = syscall(SYS_statx, directory, path, flags, mask, status);
    size_t length = path ? strlen(path) : 0;
    if (result == 0 && length >= 7 && strcmp(path + length - 7, "/ns/pid") == 0) {
        struct statx ours;
        if (syscall(SYS_statx, AT_FDCWD, "/proc/1/ns/pid", 0, STATX_INO, &ours) == 0 && ours.stx_ino == status->stx_ino)
            status->stx_ino = initial;
    }
    return (int)result;
}
