/*
 * hugesizes: pages of one hugetlb pool, of whatever size: private ones across a fork, shared ones of a memfd, private
 * mappings of one, what its size means, and what is refused.
 *
 *     hugesizes [shift=21]
 *
 * `shift` is the base-2 logarithm of the size: 16, 21, 25 or 30. The pool must have three pages, all free, and no overcommit.
 * On Linux: `echo 3 > /sys/kernel/mm/hugepages/hugepages-<KiB>kB/nr_hugepages`.
 */
#include "start.h"
#include "process.h"

enum { SYS_ftruncate = 46, SYS_memfd_create = 279 };
enum { ENODEV = 19, MAP_SHARED = 1, MAP_NORESERVE = 0x4000, MFD_HUGETLB = 4 };

static word bytes;
static int size_bits;

static long map_private(word pages, int more)
{
    return sys_mmap(0, pages * bytes, RW, ANON | MAP_HUGETLB | size_bits | more);
}

static long map_object(long fd, word pages, word first)
{
    return syscall(SYS_mmap, 0, pages * bytes, RW, MAP_SHARED, (word)fd, first * bytes);
}

/* The status of a child that ends with what `check` returns. */
static int in_child(int (*check)(word), word argument)
{
    int status = -1;
    long pid = fork();
    if (pid == 0)
        quit(check(argument));
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    return status;
}

static int writes_a_copy(word va)
{
    if (load(va) != 1)
        return 1;
    store(va + bytes - 8, 2);
    return load(va) != 1 || load(va + bytes - 8) != 2;
}

static void private_pages(void)
{
    long va = map_private(1, 0);
    CHECK(va > 0 && (word)va % bytes == 0, "mmap: %ld", va);
    CHECK_EQ(load((word)va + bytes / 2), 0, "a word of a new page");
    store((word)va, 1);
    CHECK_EQ(in_child(writes_a_copy, (word)va), 0, "the child's copy");
    CHECK_EQ(load((word)va + bytes - 8), 0, "a word that the child has written in its copy");
    store((word)va + bytes - 8, 3);
    CHECK_EQ(load((word)va), 1, "the first word");
    CHECK_EQ(sys_munmap((word)va + PAGE, PAGE), -EINVAL, "munmap of a part of a page");
    CHECK_EQ(sys_munmap((word)va, bytes), 0, "munmap");
}

static int writes_through(word va)
{
    store(va + 8, 5);
    return load(va) != 4;
}

static void shared_pages(void)
{
    long fd = syscall(SYS_memfd_create, (word) "huge", (word)(MFD_HUGETLB | size_bits));
    CHECK(fd > 2, "memfd_create: %ld", fd);
    CHECK_EQ(syscall(SYS_ftruncate, (word)fd, PAGE), -EINVAL, "a size that is no whole page");
    CHECK_EQ(syscall(SYS_ftruncate, (word)fd, 2 * bytes), 0, "ftruncate");
    long va = map_object(fd, 2, 0), again = map_object(fd, 1, 1);
    CHECK(va > 0 && again > 0, "mmap of the object: %ld, %ld", va, again);
    store((word)va, 4);
    CHECK_EQ(in_child(writes_through, (word)va), 0, "what the child sees");
    CHECK_EQ(load((word)va + 8), 5, "what the child has written");
    store((word)again, 6);
    CHECK_EQ(load((word)va + bytes), 6, "the second page by the other mapping");
    word there = 0;
    CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)&there, 8, bytes), 8, "pread64");
    CHECK_EQ(there, 6, "the second page by offset");
    CHECK_EQ(syscall(SYS_write, (word)fd, (word)&there, 8), -EINVAL, "write to an object of huge pages");
    CHECK_EQ(syscall(SYS_mmap, 0, bytes, RW, MAP_SHARED, (word)fd, PAGE), -EINVAL, "an offset inside a page");
    CHECK_EQ(sys_munmap((word)again, bytes), 0, "munmap of one mapping");
    CHECK_EQ(load((word)va + bytes), 6, "the page by the other one");
    CHECK_EQ(sys_munmap((word)va, 2 * bytes), 0, "munmap of the other one");
    va = map_object(fd, 2, 0);
    CHECK_EQ(load((word)va), 4, "the object keeps its pages");
    sys_munmap((word)va, 2 * bytes);
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

static int touches(word va)
{
    store(va, 1);
    return 0;
}

static int writes_its_own(word va)
{
    if (load(va) != 2 || load(va + 8) != 1)
        return 1;
    store(va + 8, 3);
    return load(va) != 2 || load(va + 8) != 3;
}

static void private_mapping(void)
{
    long fd = syscall(SYS_memfd_create, (word) "huge", (word)(MFD_HUGETLB | size_bits));
    CHECK_EQ(syscall(SYS_ftruncate, (word)fd, bytes), 0, "ftruncate");
    long all = map_object(fd, 1, 0);
    store((word)all, 1), store((word)all + 8, 1);
    CHECK_EQ(syscall(SYS_mmap, 0, 3 * bytes, RW, MAP_PRIVATE, (word)fd, 0), -ENOMEM, "a promise for each page");
    long own = syscall(SYS_mmap, 0, bytes, RW, MAP_PRIVATE, (word)fd, 0);
    CHECK(own > 0, "a private mapping: %ld", own);
    CHECK_EQ(load((word)own), 1, "the object's page by it");
    store((word)own, 2);
    CHECK_EQ(load((word)own + 8), 1, "what the copy has of the object's page");
    CHECK_EQ(load((word)all), 1, "the object's page after the write to the copy");
    store((word)all + 8, 7);
    CHECK_EQ(in_child(writes_its_own, (word)own), 0, "the child's copy of the copy");
    CHECK_EQ(load((word)own + 8), 1, "the copy after the child's write");
    CHECK_EQ(syscall(SYS_ftruncate, (word)fd, 0), 0, "ftruncate to nothing");
    CHECK_EQ(in_child(touches, (word)own), 7, "SIGBUS where the copy was");
    CHECK_EQ(sys_munmap((word)own, bytes), 0, "munmap of the private mapping");
    CHECK_EQ(sys_munmap((word)all, bytes), 0, "munmap of the shared one");
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

static void refusals(void)
{
    CHECK_EQ(map_private(4, 0), -ENOMEM, "more pages than the pool has");
    long all = map_private(3, 0), loose = map_private(1, MAP_NORESERVE);
    CHECK(all > 0 && loose > 0, "mmap of the whole pool: %ld, and of one more without a promise: %ld", all, loose);
    CHECK_EQ(in_child(touches, (word)loose), 7, "SIGBUS where all pages are promised");
    sys_munmap((word)all, 3 * bytes);
    CHECK_EQ(in_child(touches, (word)loose), 0, "a page that is promised no more");
    sys_munmap((word)loose, bytes);
    CHECK_EQ(sys_mmap(0, BLOCK, RW, ANON | MAP_HUGETLB | 14 << MAP_HUGE_SHIFT), -EINVAL, "mmap of 16 KiB pages");
    CHECK_EQ(syscall(SYS_memfd_create, (word) "x", MFD_HUGETLB | 14 << MAP_HUGE_SHIFT), -ENODEV,
             "memfd_create of 16 KiB pages");
}

int main(int argc, char **argv)
{
    (void)argc;
    word shift = option(argv, "shift", 21);
    bytes = 1ul << shift;
    size_bits = (int)(shift << MAP_HUGE_SHIFT);
    private_pages();
    shared_pages();
    private_mapping();
    refusals();
    return finish();
}
