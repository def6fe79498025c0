/*
 * poison: memory of hugetlb that fails, by MADV_HWPOISON: what the program gets that touches it, its family, and those who
 * read it by descriptor.
 *
 *     poison [MODE] [shift=21]
 *   (none)    private and shared pages, fork, read and write of what has failed, errors
 *   private   touches a private page that has failed: SIGBUS
 *   shared    writes to a page of a memfd that has failed: SIGBUS
 *
 * `shift` is the base-2 logarithm of the page size: 16, 21, 25 or 30. The pool must have three pages, all free, or one for a
 * mode; they are lost. On Linux it wants CONFIG_MEMORY_FAILURE and CAP_SYS_ADMIN.
 */
#include "start.h"
#include "process.h"

enum { SYS_ftruncate = 46, SYS_memfd_create = 279, EIO = 5, EOPNOTSUPP = 95, SIGBUS = 7 };
enum { MAP_SHARED = 1, MFD_HUGETLB = 4, MADV_REMOVE = 9, MADV_SPLIT = 26, MADV_HWPOISON = 100 };

static word bytes;
static int size_bits;

static word map_private(void)
{
    long va = sys_mmap(0, bytes, RW, ANON | MAP_HUGETLB | size_bits);
    if (va < 0) {
        say("not ok - mmap of a page of the pool: %ld", va);
        quit(99);
    }
    return (word)va;
}

static word map_object(long fd)
{
    long va = syscall(SYS_mmap, 0, bytes, RW, MAP_SHARED, (word)fd, 0);
    CHECK(va > 0, "mmap of the object: %ld", va);
    return (word)va;
}

static long memory(void)
{
    long fd = syscall(SYS_memfd_create, (word) "failing", (word)(MFD_HUGETLB | size_bits));
    CHECK(fd > 2, "memfd_create: %ld", fd);
    CHECK_EQ(syscall(SYS_ftruncate, (word)fd, bytes), 0, "ftruncate");
    return fd;
}

/* How a child ends that reads, or writes, a word. */
static int child_reads(word va)
{
    int status = -1;
    long pid = fork();
    if (pid == 0)
        quit(load(va) != 0);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    return status;
}

static int child_writes(word va)
{
    int status = -1;
    long pid = fork();
    if (pid == 0) {
        store(va, 9);
        quit(0);
    }
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    return status;
}

/* A failed private page is an error for whoever had it, and never zeros, until it is given up. */
static void private_page(void)
{
    word va = map_private(), bad = va + 3 * PAGE;
    store(va, 1), store(bad, 2);
    int ends[2];
    CHECK_EQ(syscall(SYS_pipe2, (word)ends, 0), 0, "pipe2");
    /* A child that has the page from before. */
    long pid = fork();
    if (pid == 0) {
        word go;
        syscall(SYS_read, (word)ends[0], (word)&go, 8);
        quit(load(va + bytes - 8) != 0);
    }
    CHECK_EQ(sys_madvise(bad, PAGE, MADV_HWPOISON), 0, "MADV_HWPOISON of a private page");
    CHECK_EQ(syscall(SYS_write, (word)ends[1], (word)ends, 8), 8, "write to the pipe");
    int status = -1;
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, SIGBUS, "the child that shared the page");
    CHECK_EQ(child_reads(bad), SIGBUS, "a read of it by a child of afterwards");
    CHECK_EQ(child_writes(va), SIGBUS, "a write to the same huge page");
    CHECK_EQ(syscall(SYS_write, (word)ends[1], bad, 8), -EFAULT, "write of it to a pipe");
    CHECK_EQ(sys_mprotect(va, bytes, PROT_READ), 0, "mprotect");
    CHECK_EQ(child_reads(va), SIGBUS, "a read of it after mprotect");
    CHECK_EQ(sys_munmap(va, bytes), 0, "munmap");
    syscall(SYS_close, (word)ends[0]);
    syscall(SYS_close, (word)ends[1]);
}

/* The object keeps what has failed: an error by every mapping, and by offset from the failed 4 KiB on; a hole mends it. */
static void shared_page(void)
{
    long fd = memory();
    word va = map_object(fd), again = map_object(fd), bad = 2 * PAGE, there[8];
    store(va, 1), store(va + bad + PAGE, 2);
    CHECK_EQ(load(again), 1, "the page by the other mapping");
    CHECK_EQ(sys_madvise(va + bad, PAGE, MADV_HWPOISON), 0, "MADV_HWPOISON of a shared page");
    CHECK_EQ(child_reads(va + bad), SIGBUS, "a read of it");
    CHECK_EQ(child_writes(again + bad), SIGBUS, "a write to it by the other mapping");
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)there, 64, bad - 16), 16, "pread64 up to it");
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)there, 64, bad), -EIO, "pread64 of it");
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)there, 64, bad + PAGE), 64, "pread64 behind it");
    CHECK_EQ(there[0], 2, "what stands behind it");
    CHECK_EQ(sys_madvise(va, bytes, MADV_REMOVE), 0, "MADV_REMOVE");
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)there, 64, bad), 64, "pread64 of the hole");
    CHECK_EQ(there[0], 0, "the hole");
    CHECK_EQ(sys_munmap(va, bytes), 0, "munmap");
    CHECK_EQ(sys_munmap(again, bytes), 0, "munmap");
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

/* Where smaller entries than a page's are permitted 4 KiB fail alone. A kernel that does not know of them says EINVAL. */
static void split_page(void)
{
    long fd = memory();
    word va = map_object(fd), whole = map_object(fd), bad = va + bytes / 2;
    store(va, 1), store(bad - PAGE, 2), store(bad + PAGE, 3);
    if (sys_madvise(va, bytes, MADV_SPLIT) == 0) {
        CHECK_EQ(load(bad), 0, "the page");
        CHECK_EQ(sys_madvise(bad, PAGE, MADV_HWPOISON), 0, "MADV_HWPOISON");
        CHECK_EQ(child_reads(bad + 8), SIGBUS, "a read of the 4 KiB that failed");
        CHECK_EQ(load(bad - PAGE), 2, "the 4 KiB before");
        CHECK_EQ(load(bad + PAGE), 3, "the 4 KiB behind");
        store(bad + PAGE, 4);
        CHECK_EQ(load(va), 1, "the first word");
        CHECK_EQ(child_reads(whole), SIGBUS, "a read where only whole pages are permitted");
        CHECK_EQ(sys_madvise(va, bytes, MADV_DONTNEED), 0, "MADV_DONTNEED");
        CHECK_EQ(load(bad + PAGE), 4, "the 4 KiB behind, mapped anew");
        CHECK_EQ(child_writes(bad), SIGBUS, "a write to those that failed");
    }
    CHECK_EQ(sys_munmap(va, bytes), 0, "munmap");
    CHECK_EQ(sys_munmap(whole, bytes), 0, "munmap");
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

static void refusals(void)
{
    word page = must_map(PAGE);
    store(page, 1);
    CHECK_EQ(sys_madvise(page, PAGE, MADV_HWPOISON), -EOPNOTSUPP, "MADV_HWPOISON of anonymous memory");
    CHECK_EQ(load(page), 1, "that memory");
    CHECK_EQ(sys_munmap(page, PAGE), 0, "munmap");
    CHECK_EQ(sys_madvise(page, PAGE, MADV_HWPOISON), -EFAULT, "MADV_HWPOISON of nothing");
    CHECK_EQ(sys_madvise(page + 1, PAGE, MADV_HWPOISON), -EINVAL, "MADV_HWPOISON of an unaligned range");
    CHECK_EQ(sys_madvise(page, 0, MADV_HWPOISON), 0, "MADV_HWPOISON of no memory");
}

int main(int argc, char **argv)
{
    word shift = option(argv, "shift", 21);
    bytes = 1ul << shift;
    size_bits = (int)(shift << MAP_HUGE_SHIFT);
    const char *what = mode(argc, argv, "");
    if (same(what, "private") || same(what, "shared")) {
        word va = same(what, "private") ? map_private() : map_object(memory());
        store(va, 1);
        CHECK_EQ(sys_madvise(va + 5 * PAGE, PAGE, MADV_HWPOISON), 0, "MADV_HWPOISON");
        store(va + 5 * PAGE, 2);
        return finish();
    }
    private_page();
    shared_page();
    split_page();
    refusals();
    return finish();
}
