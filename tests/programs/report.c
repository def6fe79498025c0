/*
 * report: what the kernel says of this process's memory, held against what the process has mapped and touched.
 *
 *     report [lax]
 *
 * maps, smaps, smaps_rollup, status and pagemap of /proc/self, and /proc/kpagecount and /proc/kpageflags of the frames
 * that pagemap names: of memory that is this process's alone, that a child shares, and that the child has left. On Linux
 * it needs the right to see frame numbers; without it the words of frames are not looked at. With `lax` the sums over
 * the whole process are not either, of which qemu-user tells its own.
 */
#include "start.h"
#include "process.h"

/* Far from the image and the stack; a multiple of 2 MiB. */
#define AREA 0x1200000000ul
#define PRESENT (1ul << 63)
#define EXCLUSIVE (1ul << 56)
#define PFN ((1ul << 55) - 1)
enum { KPF_MMAP = 11, KPF_ANON = 12 };

static char text[65536], pieces[65536];

static long open_at(const char *path)
{
    return syscall(SYS_openat, (word)AT_FDCWD, (word)path, 0, 0);
}

/* Reads all of a file into `to`, `piece` bytes at a time, and ends it with 0. */
static long read_all(const char *path, char *to, word piece)
{
    long fd = open_at(path), sum = 0, got = fd;
    for (word left = sizeof text - 1; fd >= 0 && left; left -= (word)got, sum += got) {
        got = syscall(SYS_read, (word)fd, (word)(to + sum), left < piece ? left : piece);
        if (got <= 0)
            break;
    }
    CHECK(got == 0, "%s: %ld", path, got);
    to[sum] = 0;
    syscall(SYS_close, (word)fd);
    return sum;
}

/* A word of a file of words; all ones where there is none. */
static word word_at(const char *path, word index)
{
    word value = ~0ul;
    long fd = open_at(path);
    if (fd < 0 || syscall(SYS_pread64, (word)fd, (word)&value, 8, index * 8) != 8)
        value = ~0ul;
    syscall(SYS_close, (word)fd);
    return value;
}

static word pagemap(word va)
{
    return word_at("/proc/self/pagemap", va / PAGE);
}

/* The end of the line. */
static const char *line_end(const char *line)
{
    while (*line && *line != '\n')
        line++;
    return *line ? line + 1 : line;
}

/* What follows `name` at the beginning of a line between `from` and `end`. */
static const char *after(const char *from, const char *end, const char *name)
{
    for (; from < end && *from; from = line_end(from)) {
        const char *line = from, *n = name;
        while (*n && *line == *n)
            line++, n++;
        if (!*n)
            return line;
    }
    return 0;
}

/* The number of the row, all ones where there is no such row. */
static word row(const char *from, const char *end, const char *name)
{
    const char *value = after(from, end, name);
    if (!value)
        return ~0ul;
    while (*value == ' ' || *value == '\t' || *value == ':')
        value++;
    word sum = 0;
    while (*value >= '0' && *value <= '9')
        sum = sum * 10 + (word)(*value++ - '0');
    return sum;
}

static int is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* The beginning of the record that begins with `start`-, and where it ends. */
static const char *record(word start, const char **end)
{
    struct line line;
    line.used = 0;
    put_number(&line, start, 16);
    put_text(&line, "-");
    line.text[line.used] = 0;
    const char *rows = after(text, text + sizeof text, line.text);
    *end = rows;
    if (rows)
        for (*end = line_end(rows); **end && !is_hex(**end); *end = line_end(*end))
            ;
    return rows;
}

/* Reads smaps, and holds the record that begins at `va` against these sizes in kB. */
static void check_record(const char *what, word va, word size, word rss, word pss, word private)
{
    const char *end, *rows;
    read_all("/proc/self/smaps", text, 4096);
    rows = record(va, &end);
    CHECK(rows, "%s: no record in smaps", what);
    if (!rows)
        return;
    static const char *names[] = {"Size", "Rss", "Pss", "Private_Dirty", "Shared_Dirty", "Anonymous", "Swap"};
    word expected[] = {size, rss, pss, private, rss - private, rss, 0};
    for (int n = 0; n < 7; n++)
        CHECK(row(rows, end, names[n]) == expected[n], "%s: %s is %lu kB, want %lu", what, names[n],
              row(rows, end, names[n]), expected[n]);
    CHECK(after(rows, end, "VmFlags: rd "), "%s: VmFlags", what);
}

/* Writes the path of a file of a process into `path`. */
static void path_of(char path[32], long pid, const char *name)
{
    struct line line;
    line.used = 0;
    put_text(&line, "/proc/"), put_number(&line, (word)pid, 10), put_text(&line, "/"), put_text(&line, name);
    line.text[line.used] = 0;
    for (size_t i = 0; i <= line.used && i < 32; i++)
        path[i] = line.text[i];
}

/* Whether the text that was read last says that its process is a zombie. */
static int is_zombie(long length)
{
    return after(text, text + length, "State:\tZ (zombie)") != 0;
}

/* What is left of a child that has ended and that nobody has waited for; then nothing. A child gives its memory up
 * before it is a zombie, so what is waited for is the state. */
static void zombie(void)
{
    char path[32];
    long pid = fork();
    if (pid == 0)
        quit(0);
    static const char *names[] = {"maps", "smaps", "pagemap", "status", "comm"};
    long files[5], status = -1;
    path_of(path, pid, "status");
    for (int turns = 0; turns < 10000 && !is_zombie(read_all(path, text, 4096)); turns++)
        sleep_ns(1000000);
    for (int n = 0; n < 5; n++) {
        path_of(path, pid, names[n]);
        files[n] = open_at(path);
        CHECK(files[n] > 2, "%s of a zombie: %ld", names[n], files[n]);
        if (n == 3) {
            long length = read_all(path, text, 4096);
            CHECK(is_zombie(length), "the state of a zombie");
            CHECK(!after(text, text + length, "VmSize"), "a zombie has memory");
            CHECK_EQ(row(text, text + length, "PPid:"), (word)syscall(SYS_getpid, 0), "the parent of a zombie");
        } else {
            CHECK_EQ(read_all(path, text, 4096) != 0, n == 4, "what a zombie has left");
        }
    }
    CHECK_EQ(wait4(pid, (int *)&status, 0), pid, "wait4");
    CHECK_EQ(open_at(path), -ENOENT, "a file of a process that is gone");
    CHECK_EQ(syscall(SYS_read, (word)files[3], (word)text, 100), -ESRCH, "status of a process that is gone");
    for (int n = 0; n < 5; n++)
        syscall(SYS_close, (word)files[n]);
}

static void alone(void)
{
    CHECK_EQ(sys_mmap(AREA, 16 * PAGE, RW, ANON | MAP_FIXED), AREA, "mmap");
    sys_madvise(AREA, 16 * PAGE, MADV_NOHUGEPAGE);
    check_record("nothing touched", AREA, 64, 0, 0, 0);
    for (word n = 0; n < 5; n++)
        store(AREA + 2 * n * PAGE, n + 1);
    CHECK_EQ(load(AREA + PAGE), 0, "a page that is only read");
    check_record("five pages written, one read", AREA, 64, 20, 20, 20);
    for (word n = 0; n < 5; n++) {
        word entry = pagemap(AREA + 2 * n * PAGE), pfn = entry & PFN;
        CHECK((entry & (PRESENT | EXCLUSIVE)) == (PRESENT | EXCLUSIVE), "pagemap of page %lu: %#lx", 2 * n, entry);
        if (pfn) {
            word flags = word_at("/proc/kpageflags", pfn);
            CHECK(flags >> KPF_MMAP & flags >> KPF_ANON & 1, "kpageflags of frame %#lx: %#lx", pfn, flags);
            CHECK_EQ(word_at("/proc/kpagecount", pfn), 1, "kpagecount of a page of one process");
        }
    }
    CHECK((pagemap(AREA + PAGE) & (PRESENT | EXCLUSIVE)) == PRESENT, "pagemap of the page of zeros");
    CHECK_EQ(pagemap(AREA + 3 * PAGE), 0, "pagemap of a page that nobody touched");
    CHECK_EQ(pagemap(AREA + 16 * PAGE), 0, "pagemap beyond the mapping");
    CHECK_EQ(sys_mprotect(AREA + 4 * PAGE, 2 * PAGE, PROT_READ), 0, "mprotect of the middle");
    check_record("the first of three", AREA, 16, 8, 8, 8);
    check_record("the second of three", AREA + 4 * PAGE, 8, 4, 4, 4);
    check_record("the third of three", AREA + 6 * PAGE, 40, 8, 8, 8);
    CHECK_EQ(sys_mprotect(AREA + 4 * PAGE, 2 * PAGE, RW), 0, "mprotect back");
    check_record("one again", AREA, 64, 20, 20, 20);
}

/* What a child says of memory that its parent has too; it waits for a word in the parent's pipe before it ends. */
static void shared(void)
{
    int to_child[2], to_parent[2], status = -1;
    char c = 0;
    CHECK_EQ(syscall(SYS_pipe2, (word)to_child, 0), 0, "pipe2");
    CHECK_EQ(syscall(SYS_pipe2, (word)to_parent, 0), 0, "pipe2");
    long pid = fork();
    if (pid == 0) {
        checks = failures = 0;
        check_record("in a child", AREA, 64, 20, 10, 0);
        store(AREA, 7);
        store(AREA + 2 * PAGE, 7);
        check_record("in a child that wrote two pages", AREA, 64, 20, 14, 8);
        syscall(SYS_write, (word)to_parent[1], (word)&c, 1);
        syscall(SYS_read, (word)to_child[0], (word)&c, 1);
        quit((long)failures);
    }
    CHECK(pid > 0, "fork: %ld", pid);
    CHECK_EQ(syscall(SYS_read, (word)to_parent[0], (word)&c, 1), 1, "the child's word");
    check_record("in the parent", AREA, 64, 20, 14, 8);
    word entry = pagemap(AREA + 4 * PAGE), pfn = entry & PFN;
    CHECK((entry & (PRESENT | EXCLUSIVE)) == PRESENT, "pagemap of a shared page: %#lx", entry);
    if (pfn)
        CHECK_EQ(word_at("/proc/kpagecount", pfn), 2, "kpagecount of a page of two processes");
    syscall(SYS_write, (word)to_child[1], (word)&c, 1);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "checks that failed in the child");
    check_record("after the child's end", AREA, 64, 20, 20, 20);
    for (int n = 0; n < 2; n++)
        syscall(SYS_close, (word)to_child[n]), syscall(SYS_close, (word)to_parent[n]);
}

/* A huge page, if there is one, is resident whole. */
static void huge(void)
{
    const char *end, *rows;
    CHECK_EQ(sys_mmap(AREA + BLOCK, BLOCK, RW, ANON | MAP_FIXED), AREA + BLOCK, "mmap of 2 MiB");
    sys_madvise(AREA + BLOCK, BLOCK, MADV_HUGEPAGE);
    for (word n = 0; n < 512; n++)
        store(AREA + BLOCK + n * PAGE, 1);
    check_record("2 MiB", AREA + BLOCK, 2048, 2048, 2048, 2048);
    rows = record(AREA + BLOCK, &end);
    word blocks = rows ? row(rows, end, "AnonHugePages") : 1;
    CHECK(blocks == 0 || blocks == 2048, "AnonHugePages is %lu kB", blocks);
    for (word n = 0; n < 512; n += 73) {
        word entry = pagemap(AREA + BLOCK + n * PAGE), first = pagemap(AREA + BLOCK);
        CHECK((entry & (PRESENT | EXCLUSIVE)) == (PRESENT | EXCLUSIVE), "pagemap of page %lu: %#lx", n, entry);
        CHECK(blocks == 0 || !(first & PFN) || (entry & PFN) == (first & PFN) + n, "the frame of page %lu", n);
    }
    CHECK_EQ(sys_munmap(AREA + BLOCK, BLOCK), 0, "munmap of 2 MiB");
}

/* All files agree on what is resident. */
static void sums(void)
{
    word sum = 0, records = 0, lines = 0, rss, status;
    read_all("/proc/self/smaps", text, sizeof text);
    for (const char *line = text; *line; line = line_end(line)) {
        if (after(line, line + 1, "Rss:"))
            sum += row(line, line + 1, "Rss"), records++;
    }
    read_all("/proc/self/maps", pieces, 4096);
    for (const char *line = pieces; *line; line = line_end(line))
        lines++;
    CHECK_EQ(records, lines, "records of smaps, against lines of maps");
    read_all("/proc/self/smaps_rollup", pieces, 4096);
    rss = row(pieces, pieces + sizeof pieces, "Rss");
    CHECK_EQ(rss, sum, "Rss of smaps_rollup");
    read_all("/proc/self/status", pieces, 4096);
    status = row(pieces, pieces + sizeof pieces, "VmRSS");
    CHECK_EQ(status, sum, "VmRSS of status");
    CHECK_EQ(row(pieces, pieces + sizeof pieces, "Pid"), syscall(SYS_getpid), "Pid of status");
    CHECK_EQ(row(pieces, pieces + sizeof pieces, "PPid"), syscall(SYS_getppid), "PPid of status");
    long whole = read_all("/proc/self/smaps", text, sizeof text);
    static const word sizes[] = {1, 7, 100, 4096};
    for (int n = 0; n < 4; n++) {
        long got = read_all("/proc/self/smaps", pieces, sizes[n]), i = 0;
        while (i < got && i < whole && text[i] == pieces[i])
            i++;
        CHECK(got == whole && i == whole, "smaps in pieces of %lu: %ld bytes of %ld, equal to %ld", sizes[n], got,
              whole, i);
    }
}

static void refusals(void)
{
    static const char *files[] = {"/proc/self/pagemap", "/proc/kpagecount", "/proc/kpageflags"};
    word words[2];
    for (int n = 0; n < 3; n++) {
        long fd = open_at(files[n]);
        if (fd < 0 && n)
            continue;
        CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)words, 4, 0), -EINVAL, "half a word");
        CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)words, 8, 4), -EINVAL, "a word from the middle of one");
        CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)words, 0, 8), 0, "no word");
        CHECK_EQ(syscall(SYS_pread64, (word)fd, (word)words, 16, 1ul << 59), 0, "words beyond the end");
        CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
    }
}

int main(int argc, char **argv)
{
    /* The buffers, so that reading does not change what is read. */
    for (word n = 0; n < sizeof text; n += PAGE)
        text[n] = pieces[n] = 1;
    alone();
    shared();
    huge();
    if (!same(mode(argc, argv, ""), "lax"))
        sums();
    zombie();
    refusals();
    return finish();
}
