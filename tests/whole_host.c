/* Preloaded in a namespace that plays a host: its pid namespace then has the number of the initial one, by which disk-guard tells
 * whether it sees every process. The namespace is the one whose number /etc/whole-host holds, or else that of process 1: namespaces
 * that a test makes inside stay what they are. Looked up before the program begins, whose system calls some tests count. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned long long initial = 0xEFFFFFFCULL; /* PROC_PID_INIT_INO */
static unsigned long long whole;

__attribute__((constructor)) static void look(void) {
    char number[32] = {0};
    struct statx first;
    int file = open("/etc/whole-host", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, number, sizeof number - 1) > 0)
            whole = strtoull(number, NULL, 10);
        close(file);
    } else if (syscall(SYS_statx, AT_FDCWD, "/proc/1/ns/pid", 0, STATX_INO, &first) == 0) {
        whole = first.stx_ino;
    }
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *status) {
    long result = syscall(SYS_statx, directory, path, flags, mask, status);
    if (result != 0)
        return (int)result; /* errno is set; programs ask without a path or a place whether there is this call */
    size_t length = strlen(path);
    if (length >= 7 && strcmp(path + length - 7, "/ns/pid") == 0 && status->stx_ino == whole)
        status->stx_ino = initial;
    return 0;
}
