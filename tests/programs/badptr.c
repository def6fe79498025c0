/*
 * badptr: bad pointers and bad values to every system call. Each gets Linux's error and the process goes on.
 *
 *     badptr [lax]
 *
 * `lax` leaves out the checks that qemu-user, which is not Linux, is known to answer wrongly.
 */
#include "start.h"

#define KERNEL 0xffff000040000000ul
#define USER_END 0x0001000000000000ul

static int lax;
static word region, hole, none, readonly;

/* region: RW, RW, hole, PROT_NONE, PROT_READ, RW */
static void lay_out(void)
{
    region = must_map(6 * PAGE);
    for (word page = region; page < region + 6 * PAGE; page += PAGE)
        store(page, 0);
    hole = region + 2 * PAGE, none = hole + PAGE, readonly = none + PAGE;
    CHECK_EQ(sys_munmap(hole, PAGE), 0, "munmap of one page");
    CHECK_EQ(sys_mprotect(none, PAGE, PROT_NONE), 0, "mprotect NONE");
    CHECK_EQ(sys_mprotect(readonly, PAGE, PROT_READ), 0, "mprotect READ");
}

static void bad_pointer(word p, const char *kind)
{
    long errors[] = {
        syscall(SYS_write, 1, p, 16),
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, p),
        lax ? -EFAULT : syscall(SYS_nanosleep, p, 0),
    };
    for (int i = 0; i < 3; i++)
        CHECK(errors[i] == -EFAULT, "%s of %s %#lx: %ld, want -EFAULT",
              i == 0 ? "write" : i == 1 ? "clock_gettime" : "nanosleep", kind, p, errors[i]);
}

static void pointers(void)
{
    bad_pointer(0, "NULL");
    bad_pointer(8, "almost NULL");
    bad_pointer(hole, "unmapped");
    bad_pointer(hole - 8, "crossing into unmapped");
    bad_pointer(hole - 1, "unaligned, crossing into unmapped");
    bad_pointer(none, "PROT_NONE");
    bad_pointer(KERNEL, "kernel linear map");
    bad_pointer(0xffff800001000000, "kernel vmemmap");
    bad_pointer(0xffffffff80000000, "kernel image");
    bad_pointer(USER_END - PAGE, "last user page");
    bad_pointer(USER_END - 8, "crossing the end of the user half");
    bad_pointer(USER_END, "between the halves");
    bad_pointer(region | 1ul << 56, "tagged");
    bad_pointer(-8ul, "wrapping to 0");
    bad_pointer(-16ul, "last of all");
    CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, readonly), -EFAULT, "clock_gettime into a read-only page");
    CHECK_EQ(load(readonly), 0, "the read-only page afterwards");
    CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, region + 3), 0, "clock_gettime to an unaligned address");
    CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, region + PAGE - 8), 0, "clock_gettime across two pages");
}

static void writes(void)
{
    static const char text[] = "badptr: a line\n";
    word good = (word)text;
    CHECK_EQ(syscall(SYS_write, 1, good, sizeof text - 1), sizeof text - 1, "write");
    CHECK_EQ(syscall(SYS_write, 2, good, sizeof text - 1), sizeof text - 1, "write to fd 2");
    CHECK_EQ(syscall(SYS_write, 99, good, 1), -EBADF, "write to fd 99");
    CHECK_EQ(syscall(SYS_write, -1ul, good, 1), -EBADF, "write to fd -1");
    CHECK_EQ(syscall(SYS_write, 1, good, 0), 0, "write of 0 bytes");
    CHECK_EQ(syscall(SYS_write, 1, 0, 0), 0, "write of 0 bytes at NULL");
    CHECK_EQ(syscall(SYS_write, 1, good, -1ul), -EFAULT, "write of 2^64 - 1 bytes");
    CHECK_EQ(syscall(SYS_write, 1, good, 1ul << 63), -EFAULT, "write of 2^63 bytes");
    CHECK_EQ(syscall(SYS_write, 1, good, USER_END), -EFAULT, "write of 2^48 bytes");
}

static long nap(int64_t sec, int64_t nsec)
{
    struct timespec time = {sec, nsec};
    return syscall(SYS_nanosleep, (word)&time, KERNEL);
}

static void times(void)
{
    CHECK_EQ(nap(0, 1000000000), -EINVAL, "nanosleep of 10^9 ns");
    CHECK_EQ(nap(0, -1), -EINVAL, "nanosleep of -1 ns");
    CHECK_EQ(nap(-1, 0), -EINVAL, "nanosleep of -1 s");
    CHECK_EQ(nap(0, 0), 0, "nanosleep of 0 with an unused bad second pointer");
    CHECK_EQ(nap(0, 1), 0, "nanosleep of 1 ns with an unused bad second pointer");
    CHECK_EQ(syscall(SYS_clock_gettime, 99, region), -EINVAL, "clock_gettime of clock 99");
    CHECK_EQ(syscall(SYS_clock_gettime, -1ul, region), -EINVAL, "clock_gettime of clock -1");
    CHECK_EQ(syscall(SYS_clock_gettime, 99, 0), -EINVAL, "clock_gettime of clock 99 to NULL");
}

static long map_at(word va, word bytes, int flags)
{
    return sys_mmap(va, bytes, RW, ANON | flags);
}

static void maps(void)
{
    long got;
    CHECK_EQ(map_at(0, 0, 0), -EINVAL, "mmap of 0 bytes");
    CHECK_EQ(map_at(0, -1ul, 0), -ENOMEM, "mmap of 2^64 - 1 bytes");
    CHECK_EQ(map_at(0, 1ul << 63, 0), -ENOMEM, "mmap of 2^63 bytes");
    CHECK_EQ(map_at(0, USER_END + PAGE, 0), -ENOMEM, "mmap of more than the user half");
    CHECK_EQ(map_at(hole + 1, PAGE, MAP_FIXED), -EINVAL, "mmap MAP_FIXED unaligned");
    CHECK_EQ(map_at(KERNEL, PAGE, MAP_FIXED), -ENOMEM, "mmap MAP_FIXED at a kernel address");
    CHECK_EQ(map_at(USER_END, PAGE, MAP_FIXED), -ENOMEM, "mmap MAP_FIXED at the end of the user half");
    CHECK_EQ(map_at(USER_END - PAGE, 2 * PAGE, MAP_FIXED), -ENOMEM, "mmap MAP_FIXED over the end of the user half");
    CHECK_EQ(map_at(-PAGE, 2 * PAGE, MAP_FIXED), -ENOMEM, "mmap MAP_FIXED over the end of all");
    CHECK_EQ(sys_mmap(0, PAGE, RW, MAP_ANONYMOUS), -EINVAL, "mmap neither private nor shared");
    CHECK_EQ(sys_mmap(0, PAGE, RW, MAP_ANONYMOUS | 0xf), -EINVAL, "mmap of type 15");
    CHECK_EQ(sys_mmap(0, PAGE, RW, MAP_PRIVATE), -EBADF, "mmap of file -1");
    CHECK_EQ(syscall(SYS_mmap, 0, PAGE, RW, ANON, -1ul, 1), -EINVAL, "mmap with an unaligned offset");

    got = map_at(KERNEL, PAGE, 0);
    CHECK(got > 0 && (word)got < USER_END, "mmap with a kernel address as a hint: %#lx", (word)got);
    CHECK_EQ(sys_munmap((word)got, PAGE), 0, "munmap");

    got = map_at(0, 1, 0);
    CHECK(got > 0, "mmap of 1 byte: %ld", got);
    CHECK_EQ(sys_munmap((word)got, 1), 0, "munmap rounds the length up to a page");
    CHECK(unwritable((word)got), "nothing is mapped at %#lx after munmap", (word)got);
}

static void unmaps(void)
{
    CHECK_EQ(sys_munmap(region + 1, PAGE), -EINVAL, "munmap unaligned");
    CHECK_EQ(sys_munmap(region, 0), -EINVAL, "munmap of 0 bytes");
    CHECK_EQ(sys_munmap(region, -1ul), -EINVAL, "munmap of 2^64 - 1 bytes");
    CHECK_EQ(sys_munmap(region, USER_END), -EINVAL, "munmap over the end of the user half");
    CHECK_EQ(sys_munmap(KERNEL, PAGE), -EINVAL, "munmap of a kernel address");
    CHECK_EQ(sys_munmap(hole, PAGE), 0, "munmap where nothing is");
}

static void protects(void)
{
    CHECK_EQ(sys_mprotect(region + 1, PAGE, RW), -EINVAL, "mprotect unaligned");
    CHECK_EQ(sys_mprotect(region, -1ul, RW), -ENOMEM, "mprotect of 2^64 - 1 bytes");
    CHECK_EQ(sys_mprotect(hole, PAGE, RW), -ENOMEM, "mprotect where nothing is");
    CHECK_EQ(sys_mprotect(region, 4 * PAGE, RW), -ENOMEM, "mprotect over a hole");
    CHECK_EQ(sys_mprotect(KERNEL, PAGE, RW), -ENOMEM, "mprotect of a kernel address");
    CHECK_EQ(sys_mprotect(region, PAGE, 0x1000), -EINVAL, "mprotect with an unknown bit");
    CHECK_EQ(sys_mprotect(region, PAGE, RW | 0x03000000), -EINVAL, "mprotect growing both ways");
}

static void advices(void)
{
    CHECK_EQ(sys_madvise(region, PAGE, 1234), -EINVAL, "madvise 1234");
    CHECK_EQ(sys_madvise(region, PAGE, -1), -EINVAL, "madvise -1");
    CHECK_EQ(sys_madvise(region, 0, 1234), -EINVAL, "madvise 1234 of 0 bytes");
    static const int ADVICES[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_HUGEPAGE,
                                  MADV_NOHUGEPAGE, MADV_COLD, MADV_PAGEOUT};
    for (size_t i = 0; i < sizeof ADVICES / sizeof *ADVICES; i++) {
        int advice = ADVICES[i];
        CHECK_EQ(sys_madvise(region, PAGE, advice), 0, "madvise of a page");
        CHECK_EQ(sys_madvise(region + 1, PAGE, advice), -EINVAL, "madvise unaligned");
        CHECK_EQ(sys_madvise(region, -1ul, advice), -EINVAL, "madvise of 2^64 - 1 bytes");
        CHECK_EQ(sys_madvise(region, -PAGE, advice), -EINVAL, "madvise of a wrapping range");
        CHECK_EQ(sys_madvise(region, 0, advice), 0, "madvise of 0 bytes");
        CHECK_EQ(sys_madvise(hole, PAGE, advice), -ENOMEM, "madvise where nothing is");
        CHECK_EQ(sys_madvise(region, 4 * PAGE, advice), -ENOMEM, "madvise over a hole");
        CHECK_EQ(sys_madvise(KERNEL, PAGE, advice), -ENOMEM, "madvise of a kernel address");
    }
    sys_madvise(region, PAGE, MADV_NORMAL);
}

/* what MADV_POPULATE_READ, MADV_POPULATE_WRITE and MADV_COLLAPSE say of each kind of memory */
static void populating(void)
{
    enum { READ = 22, WRITE = 23, COLLAPSE = 25 };
    word around = must_map(3 * BLOCK), whole = (around + BLOCK - 1) & -(word)BLOCK;
    struct { word at, bytes; long of[3]; const char *what; } rows[] = {
        {region, PAGE, {0, 0, -EINVAL}, "a page"},
        {hole, PAGE, {-ENOMEM, -ENOMEM, -ENOMEM}, "a hole"},
        {region, 4 * PAGE, {-ENOMEM, -ENOMEM, -EINVAL}, "pages and a hole"},
        {none, PAGE, {-EINVAL, -EINVAL, -EINVAL}, "PROT_NONE"},
        {readonly, PAGE, {0, -EINVAL, -EINVAL}, "a read-only page"},
        {readonly, 2 * PAGE, {0, -EINVAL, -EINVAL}, "a read-only page and one more"},
        {region + 1, PAGE, {-EINVAL, -EINVAL, -EINVAL}, "unaligned"},
        {region, -1ul, {-EINVAL, -EINVAL, -EINVAL}, "2^64 - 1 bytes"},
        {region, -PAGE, {-EINVAL, -EINVAL, -EINVAL}, "a wrapping range"},
        {region, 0, {0, 0, 0}, "0 bytes"},
        {KERNEL, PAGE, {-ENOMEM, -ENOMEM, -ENOMEM}, "a kernel address"},
        {whole, BLOCK, {0, 0, 0}, "a block"},
        {whole + PAGE, PAGE, {0, 0, 0}, "a part of a block"},
        {whole, 2 * BLOCK, {0, 0, 0}, "two blocks"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int n = 0; n < 3; n++) {
            long said = sys_madvise(rows[i].at, rows[i].bytes, n == 0 ? READ : n == 1 ? WRITE : COLLAPSE);
            CHECK(said == rows[i].of[n], "%s of %s: %ld, want %ld", n == 0 ? "POPULATE_READ" : n == 1 ? "POPULATE_WRITE" :
                  "COLLAPSE", rows[i].what, said, rows[i].of[n]);
        }
    CHECK_EQ(sys_munmap(around, 3 * BLOCK), 0, "munmap");
}

static long mincore(word va, word bytes, const void *vector)
{
    return syscall(SYS_mincore, va, bytes, (word)vector);
}

static void residence(void)
{
    unsigned char vector[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    word pages = must_map(6 * PAGE);
    sys_madvise(pages, 6 * PAGE, MADV_NOHUGEPAGE);
    store(pages + PAGE, 1), load(pages + 3 * PAGE);
    CHECK_EQ(mincore(pages, 5 * PAGE + 1, vector), 0, "mincore");
    for (word n = 0; n < 8; n++)
        CHECK_EQ(vector[n] & 1, n > 5 || n == 1 || n == 3, "what mincore says");
    CHECK_EQ(sys_munmap(pages + 2 * PAGE, PAGE), 0, "munmap");
    CHECK_EQ(mincore(pages, 6 * PAGE, vector), -ENOMEM, "mincore over a hole");
    CHECK_EQ(vector[0] | vector[1] << 1, 2, "what mincore says of what lies before a hole");
    CHECK_EQ(mincore(pages, 0, vector), 0, "mincore of nothing");
    CHECK_EQ(mincore(pages, 0, 0), 0, "mincore of nothing to nowhere");
    CHECK_EQ(mincore(pages + 1, PAGE, vector), -EINVAL, "mincore unaligned");
    CHECK_EQ(mincore(pages, -1ul, vector), -ENOMEM, "mincore of 2^64 - 1 bytes");
    CHECK_EQ(mincore(pages, -PAGE, vector), -ENOMEM, "mincore of a wrapping range");
    CHECK_EQ(mincore(KERNEL, PAGE, vector), -ENOMEM, "mincore of a kernel address");
    CHECK_EQ(mincore(USER_END, PAGE, vector), -ENOMEM, "mincore of the end of the user half");
    CHECK_EQ(mincore(USER_END - PAGE, 2 * PAGE, vector), -ENOMEM, "mincore over the end of the user half");
    CHECK_EQ(mincore(pages, PAGE, 0), -EFAULT, "mincore to nowhere");
    CHECK_EQ(mincore(pages, PAGE, (const void *)KERNEL), -EFAULT, "mincore to the kernel");
    CHECK_EQ(mincore(KERNEL, PAGE, 0), -ENOMEM, "the range of mincore comes before the vector");
    sys_munmap(pages, 6 * PAGE);
}

/* Where qemu-user differs from Linux. */
static void answers_of_linux(void)
{
    long got = sys_mmap(0, PAGE, RW | 0x1000, ANON);
    CHECK(got > 0, "mmap ignores unknown protection bits: %ld", got);
    CHECK_EQ(sys_munmap((word)got, PAGE), 0, "munmap");
    CHECK_EQ(syscall(SYS_write, 99, 0, 1), -EBADF, "write of NULL to fd 99");
    CHECK_EQ(map_at(0, PAGE, MAP_FIXED), -EPERM, "mmap MAP_FIXED at 0");
    CHECK_EQ(map_at(region, PAGE, MAP_FIXED_NOREPLACE), -EEXIST, "mmap MAP_FIXED_NOREPLACE where something is");
    CHECK_EQ(sys_mprotect(region, 0, RW), 0, "mprotect of 0 bytes");
    advices();
    populating();
    residence();
}

static void breaks(void)
{
    word start = sys_brk(0), end = ROUND_UP(start, PAGE);
    CHECK_EQ(sys_brk(1), start, "brk(1)");
    CHECK_EQ(sys_brk(start - 64 * PAGE), start, "brk below its start");
    CHECK_EQ(sys_brk(KERNEL), start, "brk to a kernel address");
    CHECK_EQ(sys_brk(-1ul), start, "brk to the last address");
    CHECK_EQ(sys_brk(1ul << 46), start, "brk to 64 TiB");
    CHECK_EQ(map_at(end + PAGE, PAGE, MAP_FIXED), end + PAGE, "mmap MAP_FIXED above the break");
    CHECK_EQ(sys_brk(end + 2 * PAGE), start, "brk over a mapping");
    CHECK_EQ(sys_munmap(end + PAGE, PAGE), 0, "munmap");
}

static void unknown_calls(void)
{
    static const long NUMBERS[] = {5000, 0x7fffffff, -1, -4096, 600};
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++)
        CHECK_EQ(syscall(NUMBERS[i], -1ul, KERNEL, -1ul, -1ul, -1ul, -1ul), -ENOSYS, "an unknown system call");
}

int main(int argc, char **argv)
{
    lax = same(mode(argc, argv, ""), "lax");
    lay_out();
    pointers();
    writes();
    times();
    maps();
    unmaps();
    protects();
    breaks();
    unknown_calls();
    if (!lax)
        answers_of_linux();
    return finish();
}
