/* Processes and descriptors: what programs need that start.h does not give. */
#ifndef PROCESS_H
#define PROCESS_H

#include "start.h"

enum { SYS_openat = 56, SYS_close = 57, SYS_pipe2 = 59, SYS_lseek = 62, SYS_read = 63, SYS_pread64 = 67,
       SYS_prctl = 167, SYS_getppid = 173, SYS_clone = 220, SYS_wait4 = 260 };
enum { ENOENT = 2, ESRCH = 3, ECHILD = 10, EAGAIN = 11, EACCES = 13, ENOTDIR = 20, EMFILE = 24, ESPIPE = 29,
       EPIPE = 32 };
enum { SIGCHLD = 17, WNOHANG = 1, AT_FDCWD = -100 };

static inline long fork(void)
{
    return syscall(SYS_clone, SIGCHLD, 0);
}

static inline long wait4(long pid, int *status, int options)
{
    return syscall(SYS_wait4, (word)pid, (word)status, (word)options, 0);
}

/* A child on another stack, of which it writes the top and then ends with status 7. */
static inline long fork_on(word top)
{
    register word x8 __asm__("x8") = SYS_clone;
    register word x0 __asm__("x0") = SIGCHLD;
    register word x1 __asm__("x1") = top;
    __asm__ volatile("svc #0\n"
                     "cbnz x0, 1f\n"
                     "mov x2, sp\n"
                     "cmp x2, x1\n"
                     "mov x0, #6\n"
                     "b.ne 2f\n"
                     "str x8, [sp, #-16]!\n"
                     "mov x0, #7\n"
                     "2: mov x8, #94\n"
                     "svc #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1)
                     : "x2", "memory", "cc");
    return (long)x0;
}

#endif
