/*
 * files: descriptors, files of the kernel, pipes across fork, and prctl's word about huge pages.
 *
 * usage: files [MODE]
 *   (none)   openat, read, pread64, lseek, close, pipe2, write, prctl, with Linux's results and errors
 *   pipe     writes to a pipe that nobody reads: SIGPIPE
 */
#include "start.h"
#include "process.h"

#define MEMINFO "/proc/meminfo"

static long open_at(const char *path, word flags)
{
    return syscall(SYS_openat, (word)AT_FDCWD, (word)path, flags, 0);
}

static long read_fd(long fd, void *to, word bytes)
{
    return syscall(SYS_read, (word)fd, (word)to, bytes);
}

static void kernel_files(void)
{
    static char whole[8192], pieces[8192], again[64];
    long fd = open_at("/sys/kernel/mm/transparent_hugepage/enabled", 0), got, sum = 0;
    CHECK_EQ(fd, 3, "the first descriptor");
    CHECK((got = read_fd(fd, whole, sizeof whole)) > 10, "read: %ld", got);
    CHECK_EQ(read_fd(fd, whole, sizeof whole), 0, "read at the end");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, 0), 0, "lseek to the start");
    for (long n; (n = read_fd(fd, pieces + sum, 3)) > 0; sum += n)
        ;
    CHECK_EQ(sum, got, "bytes in pieces of 3");
    for (long i = 0; i < got; i++)
        if (whole[i] != pieces[i])
            sum = -1;
    CHECK_EQ(sum, got, "the pieces are the whole");
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)again, 5, 2), 5, "pread64");
    CHECK(again[0] == whole[2] && again[4] == whole[6], "pread64 from 2");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, 1), got, "pread64 leaves the offset");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, (word)-3, 1), got - 3, "lseek from here");
    CHECK_EQ(read_fd(fd, again, 64), 3, "read of the last three");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, (word)-1, 0), -EINVAL, "lseek before the start");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, 9), -EINVAL, "lseek with an unknown whence");
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)again, 5, (word)-1), -EINVAL, "pread64 at -1");
    CHECK_EQ(read_fd(fd, (void *)8, 5), 0, "read at the end to nowhere");
    syscall(SYS_lseek, (word)fd, 0, 0);
    CHECK_EQ(read_fd(fd, (void *)8, 5), -EFAULT, "read to nowhere");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, 1), 0, "which leaves the offset");
    CHECK_EQ(syscall(SYS_write, (word)fd, (word) "x", 1), -EBADF, "write to a file that is open for reading");
    long other = open_at(MEMINFO, 0);
    CHECK_EQ(other, 4, "the second descriptor");
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
    CHECK_EQ(syscall(SYS_close, (word)fd), -EBADF, "close again");
    CHECK_EQ(read_fd(fd, again, 1), -EBADF, "read of a closed descriptor");
    CHECK_EQ(open_at("/proc/self/comm", 0), 3, "the lowest descriptor again");
    CHECK_EQ(read_fd(3, again, 64), 6, "read of /proc/self/comm");
    again[5] = 0;
    CHECK(same(again, "files"), "/proc/self/comm says %s", again);
    syscall(SYS_close, 3), syscall(SYS_close, 4);
}

static void errors(void)
{
    static char many[5000];
    char c;
    CHECK_EQ(open_at("/proc/none", 0), -ENOENT, "a file that is not there");
    CHECK_EQ(open_at("", 0), -ENOENT, "an empty path");
    CHECK_EQ(open_at("/proc/self/none", 0), -ENOENT, "a file that no process has");
    CHECK_EQ(open_at("/proc/99999/comm", 0), -ENOENT, "a process that is not there");
    CHECK_EQ(open_at(MEMINFO, 1), -EACCES, "a file that cannot be written");
    CHECK_EQ(open_at("/proc/self/comm", 1), -EACCES, "a file of a process that cannot be written");
    CHECK_EQ(open_at(MEMINFO, 2), -EACCES, "a file that cannot be read and written");
    CHECK_EQ(open_at(MEMINFO, 040000), -ENOTDIR, "a file as a directory");
    CHECK_EQ(open_at((const char *)8, 0), -EFAULT, "a path nowhere");
    for (word i = 0; i < sizeof many - 1; i++)
        many[i] = 'a';
    CHECK_EQ(open_at(many, 0), -36, "a path that is too long");
    many[200] = 0;
    CHECK_EQ(open_at(many, 0), -ENOENT, "a long path");
    CHECK_EQ(syscall(SYS_openat, 77, (word) "proc/meminfo", 0), -EBADF, "a relative path from a bad descriptor");
    CHECK_EQ(syscall(SYS_openat, 77, (word)MEMINFO, 0), 3, "an absolute path from a bad descriptor");
    CHECK_EQ(syscall(SYS_openat, 3, (word) "meminfo", 0), -ENOTDIR, "a relative path from a file");
    CHECK_EQ(syscall(SYS_close, 3), 0, "close");
    CHECK_EQ(open_at("proc/meminfo", 0), 3, "a relative path from the root");
    CHECK_EQ(syscall(SYS_close, 3), 0, "close");
    CHECK_EQ(read_fd(99, &c, 1), -EBADF, "read of a descriptor that is not open");
    CHECK_EQ(syscall(SYS_close, (word)-1), -EBADF, "close of -1");
    CHECK_EQ(syscall(SYS_lseek, 1, 0, 0), -ESPIPE, "lseek of the console");
    long fds = 0, last;
    while ((last = open_at(MEMINFO, 0)) >= 0)
        fds++;
    CHECK_EQ(last, -EMFILE, "one file more than can be open");
    CHECK_EQ(fds, 1021, "files that can be open");
    for (word fd = 3; fd < 1024; fd++)
        syscall(SYS_close, fd);
}

static void pipes(void)
{
    int fds[2] = {-1, -1};
    static char out[20000], in[20000];
    int status = -1;
    CHECK_EQ(syscall(SYS_pipe2, 8, 0), -EFAULT, "pipe2 to nowhere");
    CHECK_EQ(syscall(SYS_pipe2, (word)fds, 1), -EINVAL, "pipe2 with an unknown flag");
    CHECK_EQ(syscall(SYS_pipe2, (word)fds, 04000), 0, "pipe2 with O_NONBLOCK");
    CHECK(fds[0] == 3 && fds[1] == 4, "the descriptors are %d and %d", fds[0], fds[1]);
    CHECK_EQ(read_fd(3, in, 1), -EAGAIN, "read of an empty pipe");
    CHECK_EQ(read_fd(4, in, 1), -EBADF, "read of the end that is written");
    CHECK_EQ(syscall(SYS_write, 3, (word)out, 1), -EBADF, "write to the end that is read");
    CHECK_EQ(syscall(SYS_lseek, 3, 0, 0), -ESPIPE, "lseek of a pipe");
    CHECK_EQ(syscall(SYS_write, 4, (word) "abc", 3), 3, "write");
    CHECK_EQ(read_fd(3, (void *)8, 2), -EFAULT, "read to nowhere");
    CHECK_EQ(read_fd(3, in, 2), 2, "read of a part");
    CHECK_EQ(read_fd(3, in + 2, 9), 1, "read of the rest");
    CHECK(in[0] == 'a' && in[1] == 'b' && in[2] == 'c', "what was read");
    while (syscall(SYS_write, 4, (word)out, 1024) == 1024)
        ;
    CHECK_EQ(syscall(SYS_write, 4, (word)out, 1024), -EAGAIN, "write to a full pipe");
    syscall(SYS_close, 4);
    while (read_fd(3, in, 4096) > 0)
        ;
    CHECK_EQ(read_fd(3, in, 1), 0, "read after the last writer");
    syscall(SYS_close, 3);
    /* More than fits, both ways through the same pipe, across a fork. */
    for (word i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 7 + i / 256);
    CHECK_EQ(syscall(SYS_pipe2, (word)fds, 02000000), 0, "pipe2 with O_CLOEXEC");
    long pid = fork(), sum = 0;
    if (pid == 0) {
        syscall(SYS_close, 3);
        quit(syscall(SYS_write, 4, (word)out, sizeof out) != sizeof out);
    }
    syscall(SYS_close, 4);
    for (long n; (n = read_fd(3, in + sum, sizeof in - (word)sum)) > 0; sum += n)
        ;
    CHECK_EQ(sum, sizeof out, "bytes from the child");
    for (word i = 0; i < sizeof out; i++)
        if (in[i] != out[i])
            sum = -1;
    CHECK(sum > 0, "they are the child's");
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "the child's status");
    syscall(SYS_close, 3);
    /* An offset is shared across a fork. */
    long fd = open_at(MEMINFO, 0);
    pid = fork();
    if (pid == 0)
        quit(read_fd(fd, in, 10));
    wait4(pid, &status, 0);
    CHECK_EQ(status, 10 << 8, "bytes that the child read");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, 1), 10, "the parent's offset");
    syscall(SYS_close, (word)fd);
}

static void permissions(void)
{
    int status = -1;
    CHECK_EQ(syscall(SYS_prctl, 42, 0, 0, 0, 0), 0, "PR_GET_THP_DISABLE at first");
    CHECK_EQ(syscall(SYS_prctl, 41, 1, 0, 0, 0), 0, "PR_SET_THP_DISABLE");
    CHECK_EQ(syscall(SYS_prctl, 42, 0, 0, 0, 0), 1, "PR_GET_THP_DISABLE");
    long pid = fork();
    if (pid == 0)
        quit(syscall(SYS_prctl, 42, 0, 0, 0, 0));
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 1 << 8, "the child's");
    CHECK_EQ(syscall(SYS_prctl, 41, 0, 0, 0, 0), 0, "PR_SET_THP_DISABLE 0");
    CHECK_EQ(syscall(SYS_prctl, 42, 0, 0, 0, 0), 0, "PR_GET_THP_DISABLE after that");
    CHECK_EQ(syscall(SYS_prctl, 41, 1, 2, 0, 0), 0, "PR_SET_THP_DISABLE, PR_THP_DISABLE_EXCEPT_ADVISED");
    CHECK_EQ(syscall(SYS_prctl, 42, 0, 0, 0, 0), 3, "PR_GET_THP_DISABLE after that");
    static const word WRONG[][5] = {
        {41, 1, 0, 0, 1}, {41, 1, 0, 1, 0}, {41, 1, 1, 0, 0}, {41, 1, 3, 0, 0}, {41, 1, 4, 0, 0}, {41, 0, 2, 0, 0},
        {41, 0, 1, 0, 0}, {41, 0, 0, 1, 0}, {41, 0, 0, 0, 1}, {41, 1, -1ul, 0, 0}, {41, 1, 1ul << 32, 0, 0},
        {42, 1, 0, 0, 0}, {42, 0, 1, 0, 0}, {42, 0, 0, 1, 0}, {42, 0, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        const word *a = WRONG[i];
        CHECK(syscall(SYS_prctl, a[0], a[1], a[2], a[3], a[4]) == -EINVAL, "prctl %lu, row %lu of the table", a[0], i);
        CHECK_EQ(syscall(SYS_prctl, 42, 0, 0, 0, 0), 3, "what a refused call changed");
    }
    CHECK_EQ(syscall(SYS_prctl, 41, 1ul << 32, 0, 0, 0), 0, "PR_SET_THP_DISABLE, any word but 0");
    CHECK_EQ(syscall(SYS_prctl, 42, 0, 0, 0, 0), 1, "PR_GET_THP_DISABLE after that");
    CHECK_EQ(syscall(SYS_prctl, 41, 0, 0, 0, 0), 0, "PR_SET_THP_DISABLE 0 again");
    CHECK_EQ(syscall(SYS_prctl, 4242, 0, 0, 0, 0), -EINVAL, "an unknown option");
}

static void broken_pipe(void)
{
    int fds[2];
    syscall(SYS_pipe2, (word)fds, 0);
    syscall(SYS_close, (word)fds[0]);
    syscall(SYS_write, (word)fds[1], (word) "x", 1);
    CHECK(0, "a write to a pipe that nobody reads came back");
}

int main(int argc, char **argv)
{
    if (same(mode(argc, argv, "all"), "pipe")) {
        broken_pipe();
    } else {
        kernel_files();
        errors();
        pipes();
        permissions();
    }
    return finish();
}
