/*
 * devmap: every row of the table of what a device may map (mm/README.md), as a program sees it.
 *
 * usage: devmap [MODE]
 *   (none)   every row, shared and private: reads, writes, fork, copies, pins, smaps, mincore, refusals
 *   private  writes to a private mapping of a frame outside of RAM: SIGBUS
 *   dropped  reads a page whose entry MADV_DONTNEED has dropped: SIGBUS
 *
 * Without /dev/quire-map, as on Linux, it says so and has nothing to check.
 */
#include "start.h"
#include "process.h"

enum { O_RDWR = 2, MAP_SHARED = 1, SYS_mremap = 216, SUM = 2, STEP = 3 };
/* The first page of a PFNMAP row and of a MIXEDMAP row, and what is at each page of either. */
enum { PFNMAP = 0, MIXEDMAP = 16 };
enum { OUTSIDE, RAM, KERNEL_PAGE, VMALLOC, KINDS };
/* Where a PL011 identifies itself. */
enum { IDENTITY = 0xff0, PRIMECELL = 0x0d };

static long device, dma;
static char text[16384];

static long map_kind(word page, int kind, int flags, int prot)
{
    return syscall(SYS_mmap, 0, PAGE, (word)prot, (word)flags, (word)device, (page + (word)kind) * PAGE);
}

/* The word that the device itself has at the beginning of this page. */
static word of_device(word page, int kind)
{
    word value = 0;
    CHECK_EQ(syscall(SYS_pread64, (word)device, (word)&value, 8, (page + (word)kind) * PAGE), 8, "pread of the device");
    return value;
}

/* Whether a page can be pinned to be read: 0, or the error. */
static long pin(word va)
{
    word words[4] = {SUM, va, 8, 0}, step[4] = {STEP, 0, 0, 0};
    long answer = syscall(SYS_write, (word)dma, (word)words, sizeof words);
    if (answer > 0)
        CHECK_EQ(syscall(SYS_write, (word)dma, (word)step, sizeof step), 32, "the transfer");
    return answer > 0 ? 0 : answer;
}

static const char *line_end(const char *line)
{
    while (*line && *line != '\n')
        line++;
    return *line ? line + 1 : line;
}

/* What follows `name` at the beginning of a line from `from` on. */
static const char *after(const char *from, const char *name)
{
    for (; *from; from = line_end(from)) {
        const char *line = from, *n = name;
        while (*n && *line == *n)
            line++, n++;
        if (!*n)
            return line;
    }
    return "";
}

/* The record of smaps that begins at `va`. */
static const char *record(word va)
{
    char start[17];
    long fd = syscall(SYS_openat, (word)AT_FDCWD, (word) "/proc/self/smaps", 0), got, used = 0;
    while ((got = syscall(SYS_read, (word)fd, (word)text + (word)used, sizeof text - 1 - (word)used)) > 0)
        used += got;
    text[used] = 0;
    syscall(SYS_close, (word)fd);
    int digits = 0;
    for (int shift = 60; shift >= 0; shift -= 4)
        if (digits || shift <= 28 || va >> shift & 15)
            start[digits++] = "0123456789abcdef"[va >> shift & 15];
    start[digits] = 0;
    return after(text, start);
}

static word kib(const char *rows, const char *name)
{
    const char *value = after(rows, name);
    word sum = 0;
    while (*value == ' ')
        value++;
    while (*value >= '0' && *value <= '9')
        sum = sum * 10 + (word)(*value++ - '0');
    return sum;
}

/* Whether the record's flags have these two letters. */
static int has_flag(const char *rows, char first, char second)
{
    const char *flags = after(rows, "VmFlags:");
    for (; *flags && *flags != '\n'; flags++)
        if (flags[0] == ' ' && flags[1] == first && flags[2] == second)
            return 1;
    return 0;
}

static void check_smaps(word va, word page, word rss, word anonymous)
{
    const char *rows = record(va);
    CHECK_EQ(kib(rows, "Size:"), 4, "Size");
    CHECK_EQ(kib(rows, "Rss:"), rss, "Rss");
    CHECK_EQ(kib(rows, "Anonymous:"), anonymous, "Anonymous");
    CHECK_EQ(has_flag(rows, 'p', 'f'), page == PFNMAP, "VmFlags pf");
    CHECK_EQ(has_flag(rows, 'm', 'm'), page == MIXEDMAP, "VmFlags mm");
}

static int ended(long pid)
{
    int status = -1;
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    return status;
}

/* The registers of a device, which are read as what they are and never as memory. */
static void outside(word page)
{
    for (int flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++) {
        word va = (word)map_kind(page, OUTSIDE, flags, PROT_READ);
        CHECK(va < -4096ul, "mmap of a frame outside of RAM: %ld", (long)va);
        CHECK_EQ(*(volatile unsigned *)(va + IDENTITY) & 0xff, PRIMECELL, "what stands in a register");
        CHECK_EQ(pin(va), -EFAULT, "a pin of a frame outside of RAM");
        check_smaps(va, page, 0, 0);
        long pid = fork();
        if (pid == 0)
            quit((*(volatile unsigned *)(va + IDENTITY) & 0xff) != PRIMECELL);
        CHECK_EQ(ended(pid), 0, "the child reads the register");
        CHECK_EQ(sys_munmap(va, PAGE), 0, "munmap");
    }
}

/* A shared mapping: all see one page. `counted`: the entry has a reference and a mapping of its own. */
static void shared(word page, int kind, int counted)
{
    word va = (word)map_kind(page, kind, MAP_SHARED, RW), value = 0x1000 + page + (word)kind;
    CHECK(va < -4096ul, "a shared mapping of kind %d at %lu: %ld", kind, page, (long)va);
    store(va, value);
    CHECK_EQ(of_device(page, kind), value, "a shared write reaches the device");
    CHECK_EQ(pin(va), counted ? 0 : -EFAULT, "a pin in a shared mapping");
    check_smaps(va, page, counted ? 4 : 0, 0);
    long pid = fork();
    if (pid == 0) {
        CHECK_EQ(load(va), value, "the child has the same entry");
        store(va, value + 1);
        quit(failures);
    }
    CHECK_EQ(ended(pid), 0, "the child's status");
    CHECK_EQ(load(va), value + 1, "what the child wrote");
    CHECK_EQ(sys_mprotect(va, PAGE, PROT_READ), 0, "mprotect");
    CHECK(unwritable(va), "a page that may only be read was written");
    CHECK_EQ(sys_mprotect(va, PAGE, RW), 0, "mprotect");
    store(va, value);
    CHECK_EQ(of_device(page, kind), value, "a write after mprotect");
    CHECK_EQ(sys_mprotect(va, PAGE, PROT_READ | PROT_EXEC), -EACCES, "nothing of a device is executed");
    CHECK_EQ(syscall(SYS_mremap, va, PAGE, 2 * PAGE, 1), -EFAULT, "a mapping of a device does not grow");
    unsigned char there = 9;
    CHECK_EQ(syscall(SYS_mincore, va, PAGE, (word)&there), 0, "mincore");
    CHECK_EQ(there & 1, page == MIXEDMAP, "what mincore says");
    CHECK_EQ(sys_madvise(va, PAGE, MADV_DONTNEED), page == PFNMAP ? -EINVAL : 0, "MADV_DONTNEED");
    CHECK_EQ(sys_madvise(va, PAGE, MADV_COLD), page == PFNMAP ? -EINVAL : 0, "MADV_COLD");
    CHECK_EQ(sys_munmap(va, PAGE), 0, "munmap");
    CHECK_EQ(of_device(page, kind), value, "the device after munmap");
}

/* A private mapping: the first write puts a copy in the entry's place, which is anonymous memory. */
static void private(word page, int kind, int counted)
{
    word va = (word)map_kind(page, kind, MAP_PRIVATE, RW), before = of_device(page, kind);
    CHECK(va < -4096ul, "a private mapping of kind %d at %lu: %ld", kind, page, (long)va);
    CHECK_EQ(load(va), before, "what the device has");
    check_smaps(va, page, counted ? 4 : 0, 0);
    if (page == PFNMAP) {
        CHECK_EQ(pin(va), -EFAULT, "a pin in a private PFNMAP");
        check_smaps(va, page, 0, 0);
    } else {
        CHECK_EQ(pin(va), 0, "a pin in a private MIXEDMAP");
        check_smaps(va, page, 4, 4);
    }
    store(va, 77);
    CHECK_EQ(of_device(page, kind), before, "the device after a private write");
    check_smaps(va, page, 4, 4);
    CHECK_EQ(pin(va), page == PFNMAP ? -EFAULT : 0, "a pin of a private copy");
    long pid = fork();
    if (pid == 0) {
        CHECK_EQ(load(va), 77, "the child has the copy");
        store(va, 78);
        quit(failures);
    }
    CHECK_EQ(ended(pid), 0, "the child's status");
    CHECK_EQ(load(va), 77, "the parent's copy");
    CHECK_EQ(sys_munmap(va, PAGE), 0, "munmap");
}

static void refusals(void)
{
    for (int flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++) {
        CHECK_EQ(map_kind(PFNMAP, KERNEL_PAGE, flags, RW), -EINVAL, "a page of the kernel in a PFNMAP");
        CHECK_EQ(map_kind(PFNMAP, VMALLOC, flags, RW), -EINVAL, "a page of vmalloc memory in a PFNMAP");
        CHECK_EQ(map_kind(PFNMAP, KINDS, flags, RW), -EINVAL, "beyond a row");
        CHECK_EQ(map_kind(MIXEDMAP, KINDS, flags, RW), -EINVAL, "beyond the device");
        CHECK_EQ(map_kind(MIXEDMAP, RAM, flags, PROT_READ | PROT_EXEC), -EACCES, "PROT_EXEC");
    }
    CHECK_EQ(syscall(SYS_mmap, 0, PAGE, RW, MAP_SHARED, (word)device, 1), -EINVAL, "an offset inside of a page");
}

/* All four kinds in one mapping, which a program keeps after it has closed the device. */
static void all_at_once(void)
{
    long own = syscall(SYS_openat, (word)AT_FDCWD, (word) "/dev/quire-map", O_RDWR);
    word va = (word)syscall(SYS_mmap, 0, KINDS * PAGE, RW, MAP_SHARED, (word)own, MIXEDMAP * PAGE);
    CHECK(va < -4096ul, "mmap of a row: %ld", (long)va);
    CHECK_EQ(syscall(SYS_close, (word)own), 0, "close");
    store(va + KERNEL_PAGE * PAGE, 5), store(va + VMALLOC * PAGE, 6);
    CHECK_EQ(load(va + RAM * PAGE), 5, "the frame by its number is the page of the kernel");
    CHECK_EQ(of_device(MIXEDMAP, VMALLOC), 6, "vmalloc memory");
    CHECK_EQ(kib(record(va), "Rss:"), 8, "Rss of a row");
    CHECK_EQ(sys_munmap(va + KERNEL_PAGE * PAGE, PAGE), 0, "munmap of one page");
    CHECK_EQ(load(va + VMALLOC * PAGE), 6, "the page behind it");
    CHECK_EQ(sys_munmap(va, KINDS * PAGE), 0, "munmap of the rest");
}

int main(int argc, char **argv)
{
    const char *what = mode(argc, argv, "");
    device = syscall(SYS_openat, (word)AT_FDCWD, (word) "/dev/quire-map", O_RDWR);
    dma = syscall(SYS_openat, (word)AT_FDCWD, (word) "/dev/quire-dma", O_RDWR);
    if (device == -ENOENT) {
        say("there is no such device here");
        return 0;
    }
    CHECK(device > 2 && dma > 2, "open: %ld, %ld", device, dma);
    if (same(what, "private")) {
        word va = (word)map_kind(PFNMAP, OUTSIDE, MAP_PRIVATE, RW);
        say("expect a SIGBUS");
        store(va, 1);
    } else if (same(what, "dropped")) {
        word va = (word)map_kind(MIXEDMAP, KERNEL_PAGE, MAP_SHARED, RW);
        sys_madvise(va, PAGE, MADV_DONTNEED);
        say("expect a SIGBUS");
        load(va);
    } else {
        outside(PFNMAP), outside(MIXEDMAP);
        shared(PFNMAP, RAM, 0), shared(MIXEDMAP, RAM, 0);
        shared(MIXEDMAP, KERNEL_PAGE, 1), shared(MIXEDMAP, VMALLOC, 1);
        private(PFNMAP, RAM, 0), private(MIXEDMAP, RAM, 0);
        private(MIXEDMAP, KERNEL_PAGE, 1), private(MIXEDMAP, VMALLOC, 1);
        refusals(), all_at_once();
    }
    return finish();
}
