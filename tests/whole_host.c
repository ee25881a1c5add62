/* Preloaded in a namespace that plays a host: its pid namespace then has the number of the initial one, by which disk-guard tells
 * whether it sees every process. The namespace is the one whose number /etc/whole-host holds, or else that of process 1: namespaces
 * that a test makes inside stay what they are. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned long long initial = 0xEFFFFFFCULL; /* PROC_PID_INIT_INO */

static unsigned long long whole(void) {
    char number[32] = {0};
    int file = (int)syscall(SYS_openat, AT_FDCWD, "/etc/whole-host", O_RDONLY | O_CLOEXEC, 0);
    if (file >= 0) {
        long got = syscall(SYS_read, file, number, sizeof number - 1);
        syscall(SYS_close, file);
        return got > 0 ? strtoull(number, NULL, 10) : 0;
    }
    struct statx first;
    return syscall(SYS_statx, AT_FDCWD, "/proc/1/ns/pid", 0, STATX_INO, &first) == 0 ? first.stx_ino : 0;
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *status) {
    long result = syscall(SYS_statx, directory, path, flags, mask, status);
    if (result != 0)
        return (int)result; /* errno is set; programs ask without a path or a place whether there is this call */
    size_t length = strlen(path);
    if (length >= 7 && strcmp(path + length - 7, "/ns/pid") == 0 && status->stx_ino == whole())
        status->stx_ino = initial;
    return 0;
}
