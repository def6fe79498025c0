/*
 * shared: memory that processes share, by MAP_SHARED | MAP_ANONYMOUS and by memfd_create, and what its size means.
 *
 * usage: shared [MODE]
 *   (none)   parent and child, private mappings, truncation, mremap, read and write, the names in maps, errors
 *   beyond   reads a page beyond the end of its object: SIGBUS
 *   cut      reads a page that another process cuts off: SIGBUS
 */
#include "start.h"
#include "process.h"

enum { SYS_ftruncate = 46, SYS_mremap = 216, SYS_memfd_create = 279 };
enum { MAP_SHARED = 1, MAP_SHARED_VALIDATE = 3, MADV_REMOVE = 9, MREMAP_MAYMOVE = 1 };
enum { SEEK_SET, SEEK_CUR, SEEK_END };
enum { ENODEV = 19, SIGBUS = 7, MFD_CLOEXEC = 1 };

static word map_fd(long fd, word pages, int prot, int flags, word first)
{
    return (word)syscall(SYS_mmap, 0, pages * PAGE, (word)prot, (word)flags, (word)fd, first * PAGE);
}

static long memory(word pages)
{
    long fd = syscall(SYS_memfd_create, (word) "memory", MFD_CLOEXEC);
    CHECK(fd > 2, "memfd_create: %ld", fd);
    CHECK_EQ(syscall(SYS_ftruncate, (word)fd, pages * PAGE), 0, "ftruncate");
    return fd;
}

static int ended(long pid)
{
    int status = -1;
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    return status;
}

static void anonymous(void)
{
    word page = (word)sys_mmap(0, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS), own = must_map(PAGE);
    CHECK(page < -4096ul, "mmap of shared memory: %ld", (long)page);
    store(page, 1), store(own, 1);
    long pid = fork();
    if (pid == 0) {
        CHECK_EQ(load(page), 1, "what the parent wrote before the fork");
        store(page, 2), store(page + PAGE, 3), store(own, 2);
        while (load(page) != 4)
            yield();
        store(page + 2 * PAGE, 5);
        quit(failures);
    }
    while (load(page + PAGE) != 3)
        yield();
    CHECK_EQ(load(page), 2, "what the child wrote");
    store(page, 4);
    CHECK_EQ(ended(pid), 0, "the child's status");
    CHECK_EQ(load(page + 2 * PAGE), 5, "what the child wrote last");
    CHECK_EQ(load(own), 1, "private memory");
    CHECK_EQ(sys_madvise(page, PAGE, MADV_DONTNEED), 0, "MADV_DONTNEED");
    CHECK_EQ(load(page), 4, "shared memory after MADV_DONTNEED");
    CHECK_EQ(sys_madvise(page, PAGE, MADV_REMOVE), 0, "MADV_REMOVE");
    CHECK_EQ(load(page), 0, "a hole");
    CHECK_EQ(sys_madvise(own, PAGE, MADV_REMOVE), -EINVAL, "MADV_REMOVE of private memory");
    CHECK_EQ(sys_munmap(page, 4 * PAGE), 0, "munmap");
}

static void descriptors(void)
{
    long fd = memory(8);
    word all = map_fd(fd, 8, RW, MAP_SHARED, 0), part = map_fd(fd, 4, RW, MAP_SHARED_VALIDATE, 4);
    word copy = map_fd(fd, 8, RW, MAP_PRIVATE, 0), view = map_fd(fd, 8, PROT_READ, MAP_SHARED, 0);
    for (word n = 0; n < 8; n++)
        store(all + n * PAGE, 10 + n);
    CHECK_EQ(load(part), 14, "the fifth page, mapped by offset");
    CHECK_EQ(load(copy + PAGE), 11, "a private mapping that was not written");
    store(copy + PAGE, 50), store(part + PAGE, 60);
    CHECK_EQ(load(all + PAGE), 11, "the object after a private write");
    CHECK_EQ(load(view + 5 * PAGE), 60, "a view that can only be read");
    CHECK(unwritable(view), "a view can be written");
    long pid = fork();
    if (pid == 0) {
        CHECK_EQ(load(copy + PAGE), 50, "the private copy in the child");
        store(copy + PAGE, 51), store(all + 2 * PAGE, 70);
        CHECK_EQ(syscall(SYS_ftruncate, (word)fd, 6 * PAGE), 0, "ftruncate in the child");
        quit(failures);
    }
    CHECK_EQ(ended(pid), 0, "the child's status");
    CHECK_EQ(load(copy + PAGE), 50, "the parent's private copy");
    CHECK_EQ(load(all + 2 * PAGE), 70, "what the child wrote");
    CHECK(unwritable(all + 6 * PAGE), "a page that was cut off can be written");
    CHECK_EQ(syscall(SYS_ftruncate, (word)fd, 8 * PAGE), 0, "ftruncate to a greater size");
    CHECK_EQ(load(all + 7 * PAGE), 0, "a page that came back");
    word moved = (word)syscall(SYS_mremap, part, 4 * PAGE, 300 * PAGE, MREMAP_MAYMOVE);
    CHECK_EQ(load(moved + PAGE), 60, "a mapping that has grown");
    CHECK(unwritable(moved + 4 * PAGE), "it reaches beyond the end");
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
    store(all, 80);
    CHECK_EQ(load(view), 80, "memory whose descriptor is closed");
    sys_munmap(all, 8 * PAGE), sys_munmap(moved, 300 * PAGE);
    CHECK_EQ(load(view), 80, "memory that is still mapped once");
    sys_munmap(copy, 8 * PAGE), sys_munmap(view, 8 * PAGE);
}

static void bytes(void)
{
    static char buffer[3 * PAGE];
    long fd = memory(0);
    CHECK_EQ(syscall(SYS_read, (word)fd, (word)buffer, 9), 0, "read of nothing");
    CHECK_EQ(syscall(SYS_write, (word)fd, (word) "quire", 5), 5, "write");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, SEEK_CUR), 5, "the offset after a write");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 2 * PAGE, SEEK_SET), 2 * PAGE, "lseek beyond the end");
    CHECK_EQ(syscall(SYS_read, (word)fd, (word)buffer, 9), 0, "read beyond the end");
    CHECK_EQ(syscall(SYS_write, (word)fd, (word) "folio", 5), 5, "write beyond the end");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, SEEK_END), 2 * PAGE + 5, "the end");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, -5ul, SEEK_END), 2 * PAGE, "lseek back from the end");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, -PAGE * 3, SEEK_CUR), -EINVAL, "lseek to before the beginning");
    CHECK_EQ(syscall(SYS_read, (word)fd, (word)buffer, 100), 5, "read up to the end");
    CHECK(buffer[0] == 'f' && buffer[4] == 'o', "what was read");
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)buffer, sizeof buffer, 0), 2 * PAGE + 5, "pread of all");
    CHECK(buffer[0] == 'q' && buffer[4] == 'e' && !buffer[5] && !buffer[PAGE] && buffer[2 * PAGE] == 'f', "all of it");
    word page = map_fd(fd, 3, RW, MAP_SHARED, 0);
    CHECK_EQ(*(volatile char *)(page + 1), 'u', "what was written, through a mapping");
    store(page + PAGE, 0x5a5a5a5a5a5a5a5a);
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)buffer, 8, PAGE), 8, "pread");
    CHECK_EQ(buffer[7], 0x5a, "what was stored, through the descriptor");
    long pid = fork();
    if (pid == 0) {
        syscall(SYS_lseek, (word)fd, 3, SEEK_SET);
        quit(syscall(SYS_write, (word)fd, (word) "T", 1) != 1);
    }
    CHECK_EQ(ended(pid), 0, "the child's status");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, SEEK_CUR), 4, "parent and child share the offset");
    CHECK_EQ(*(volatile char *)(page + 3), 'T', "what the child wrote");
    /* From one mapping of the object into itself, and over the end of what is mapped. */
    CHECK_EQ(syscall(SYS_write, (word)fd, page, 100), 100, "a write from a mapping of the same object");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, 0, SEEK_SET), 0, "lseek");
    CHECK_EQ(syscall(SYS_write, (word)fd, page + 3 * PAGE - 1024, 4096), 1024, "a write cut short by a fault");
    CHECK_EQ(syscall(SYS_write, (word)fd, 8, 1), -EFAULT, "a write from nowhere");
    CHECK_EQ(syscall(SYS_read, (word)fd, 8, 1), -EFAULT, "a read to nowhere");
    CHECK_EQ(syscall(SYS_lseek, (word)fd, ~0ul >> 1, SEEK_SET), (long)(~0ul >> 1), "lseek to the last offset");
    CHECK_EQ(syscall(SYS_write, (word)fd, page, 1), -EINVAL, "a write at the last offset");
    CHECK_EQ(syscall(SYS_read, (word)fd, page, 1), -EINVAL, "a read at the last offset");
    CHECK_EQ(syscall(SYS_write, (word)fd, page, 0), 0, "a write of nothing there");
    syscall(SYS_lseek, (word)fd, (~0ul >> 1) - 2000, SEEK_SET);
    CHECK_EQ(syscall(SYS_write, (word)fd, page, 2001), -EINVAL, "a write over the last offset, of which nothing is done");
    sys_munmap(page, 3 * PAGE), syscall(SYS_close, (word)fd);
}

/* Whether /proc/self/maps has a line for this mapping that ends so. */
static int is_called(word va, const char *name)
{
    static char text[8192];
    long fd = syscall(SYS_openat, (word)AT_FDCWD, (word) "/proc/self/maps", 0), got, used = 0;
    while ((got = syscall(SYS_read, (word)fd, (word)text + (word)used, sizeof text - 1 - (word)used)) > 0)
        used += got;
    syscall(SYS_close, (word)fd);
    text[used] = 0;
    for (const char *line = text; *line; line++) {
        word start = 0;
        for (; *line != '-'; line++)
            start = start * 16 + (word)(*line <= '9' ? *line - '0' : *line - 'a' + 10);
        const char *path = line;
        while (*line != '\n')
            line++;
        while (path < line && *path != '/')
            path++;
        const char *n = name;
        while (*n && *n == *path)
            n++, path++;
        if (start == va)
            return !*n && path == line;
    }
    return 0;
}

static void names(void)
{
    long fd = memory(1);
    word shared = map_fd(fd, 1, RW, MAP_SHARED, 0), own = map_fd(fd, 1, RW, MAP_PRIVATE, 0);
    word zero = (word)sys_mmap(0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    syscall(SYS_close, (word)fd);
    CHECK(is_called(shared, "/memfd:memory (deleted)"), "the name of shared memory");
    CHECK(is_called(own, "/memfd:memory (deleted)"), "the name of a private mapping");
    CHECK(is_called(zero, "/dev/zero (deleted)"), "the name of memory without a name");
    sys_munmap(shared, PAGE), sys_munmap(own, PAGE), sys_munmap(zero, PAGE);
}

static void errors(void)
{
    long fd = memory(1);
    int ends[2];
    CHECK_EQ(syscall(SYS_memfd_create, 0, 0), -EFAULT, "memfd_create without a name");
    CHECK_EQ(syscall(SYS_memfd_create, (word) "x", 1ul << 20), -EINVAL, "memfd_create with unknown flags");
    CHECK_EQ(syscall(SYS_ftruncate, (word)fd, -1ul), -EINVAL, "ftruncate to less than nothing");
    CHECK_EQ(syscall(SYS_ftruncate, 99, 0), -EBADF, "ftruncate of no descriptor");
    CHECK_EQ(syscall(SYS_pipe2, (word)ends, 0), 0, "pipe2");
    int in = ends[0], out = ends[1];
    CHECK_EQ(syscall(SYS_ftruncate, (word)out, 0), -EINVAL, "ftruncate of a pipe");
    CHECK_EQ(map_fd(99, 1, RW, MAP_SHARED, 0), -EBADF, "mmap of no descriptor");
    CHECK_EQ(map_fd(in, 1, PROT_READ, MAP_SHARED, 0), -ENODEV, "mmap of a pipe");
    CHECK_EQ(map_fd(out, 1, PROT_READ, MAP_PRIVATE, 0), -EACCES, "mmap of what cannot be read");
    CHECK_EQ(map_fd(in, 1, RW, MAP_SHARED, 0), -EACCES, "a writable mapping of what cannot be written");
    CHECK_EQ(syscall(SYS_mmap, 0, PAGE, RW, MAP_SHARED, (word)fd, 1), -EINVAL, "mmap from inside of a page");
    CHECK_EQ(syscall(SYS_mmap, 0, 0, RW, MAP_SHARED, (word)fd, 0), -EINVAL, "mmap of nothing");
    syscall(SYS_close, (word)in), syscall(SYS_close, (word)out), syscall(SYS_close, (word)fd);
}

static void beyond(void)
{
    word page = map_fd(memory(1), 2, RW, MAP_SHARED, 0);
    store(page, 1);
    say("expect a SIGBUS");
    load(page + PAGE);
}

static void cut(void)
{
    long fd = memory(2);
    word page = map_fd(fd, 2, RW, MAP_SHARED, 0);
    store(page + PAGE, 1);
    long pid = fork();
    if (pid == 0)
        quit(syscall(SYS_ftruncate, (word)fd, PAGE) != 0);
    ended(pid);
    say("expect a SIGBUS");
    load(page + PAGE);
}

int main(int argc, char **argv)
{
    const char *what = mode(argc, argv, "");
    if (same(what, "beyond"))
        beyond();
    else if (same(what, "cut"))
        cut();
    else
        anonymous(), descriptors(), bytes(), names(), errors();
    return finish();
}
