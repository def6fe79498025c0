/*
 * snapshot: a process that writes on while a child reads what was there at the fork, as a database that saves itself.
 *
 * usage: snapshot [regions=8] [writes=40] [wait=2000] [slow=0] [seed=1]
 *   regions  aligned regions of 2 MiB that the parent fills, at most 64
 *   writes   pages of each region, at random, that the parent writes to while the child lives
 *   wait     milliseconds that the parent waits for its regions to be huge before the fork; 0: it forks at once
 *   slow     milliseconds that the child goes on living after all
 *
 * The child reads everything, waits until the parent has written, reads everything again, and ends. The parent then
 * waits until all its memory is in huge pages again, for at most two seconds, and prints
 *
 *     snapshot: regions R promoted P strays S
 *
 * P from AnonHugePages in /proc/self/smaps, S from res_pages_brought_back in /proc/vmstat. It fails where a word is not
 * what it should be, where P is not R, and where S is not the number of pages that were written.
 */
#include "start.h"
#include "process.h"

enum { MAX_REGIONS = 64, PAGES = 512 };

static char text[65536];
static unsigned char written[MAX_REGIONS * PAGES];
static word base, regions, pages;

/* Reads a file, as far as there is room. */
static void read_file(const char *path)
{
    long fd = syscall(SYS_openat, (word)AT_FDCWD, (word)path, 0, 0), sum = 0, got;
    while (fd >= 0 && (got = syscall(SYS_read, (word)fd, (word)(text + sum), sizeof text - 1 - (word)sum)) > 0)
        sum += got;
    text[sum] = 0;
    syscall(SYS_close, (word)fd);
}

static int begins(const char *line, const char *name)
{
    while (*name && *line == *name)
        line++, name++;
    return !*name;
}

/* The sum of the numbers behind `name` at the beginnings of lines of the file. */
static word sum_of(const char *path, const char *name)
{
    word sum = 0;
    read_file(path);
    for (const char *line = text; *line; line++) {
        if (begins(line, name)) {
            while (*line != '\n' && (*line < '0' || *line > '9'))
                line++;
            word value = 0;
            for (; *line >= '0' && *line <= '9'; line++)
                value = value * 10 + (word)(*line - '0');
            sum += value;
        }
        while (*line && *line != '\n')
            line++;
        if (!*line)
            break;
    }
    return sum;
}

static word huge_regions(void)
{
    return sum_of("/proc/self/smaps", "AnonHugePages:") / 2048;
}

/* Waits until all regions are huge, for so many milliseconds at most. How many are. */
static word wait_until_huge(word ms)
{
    word huge = huge_regions();
    for (word end = now() + ms * 1000000; huge < regions && now() < end; huge = huge_regions())
        sleep_ns(5000000);
    return huge;
}

/* The words of a page that are written and read: its first, one in the middle, its last. */
static const word PLACES[] = {0, PAGE / 2 + 8, PAGE - 8};

static void write_page(word page, word seed)
{
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
        word va = base + page * PAGE + PLACES[i];
        store(va, pattern(va, seed));
    }
}

/* Words of all pages that are not what was written: with `seeds`, or else all with seed 1. */
static word wrong_in_all(const unsigned char *seeds)
{
    word wrong = 0;
    for (word page = 0; page < pages; page++)
        for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
            word va = base + page * PAGE + PLACES[i];
            wrong += load(va) != pattern(va, seeds && seeds[page] ? 2 : 1);
        }
    return wrong;
}

/* The child: `end` is the pipe whose other end the parent closes when it has written. */
static void child(const int end[2], word slow)
{
    char byte;
    syscall(SYS_close, (word)end[1]);
    word wrong = wrong_in_all(0);
    syscall(SYS_read, (word)end[0], (word)&byte, 1);
    wrong += wrong_in_all(0);
    if (slow)
        sleep_ns((long)slow * 1000000);
    quit(wrong ? 1 : 0);
}

/* Writes to random pages of each region; returns how many different ones. */
static word write_on(word writes, word seed)
{
    word state = seed * 0x9e3779b97f4a7c15 + 1, different = 0;
    for (word n = 0; n < regions * writes; n++) {
        word page = n % regions * PAGES + random_below(&state, PAGES);
        different += !written[page];
        written[page] = 1;
        write_page(page, 2);
    }
    return different;
}

int main(int argc, char **argv)
{
    regions = option(argv, "regions", 8);
    word writes = option(argv, "writes", 40), wait = option(argv, "wait", 2000), seed = option(argv, "seed", 1);
    word slow = option(argv, "slow", 0);
    int end[2], status = -1;
    (void)argc;
    if (!regions || regions > MAX_REGIONS) {
        say("not ok - regions: 1..%d", MAX_REGIONS);
        return 99;
    }
    word region = must_map((regions + 1) * BLOCK);
    base = ROUND_UP(region, BLOCK), pages = regions * PAGES;
    sys_madvise(region, (regions + 1) * BLOCK, MADV_HUGEPAGE);
    for (word page = 0; page < pages; page++)
        write_page(page, 1);
    if (wait)
        CHECK_EQ(wait_until_huge(wait), regions, "regions that are huge before the fork");
    word strays = sum_of("/proc/vmstat", "res_pages_brought_back");
    CHECK_EQ(syscall(SYS_pipe2, (word)end, 0), 0, "pipe2");
    long pid = fork();
    if (pid == 0)
        child(end, slow);
    CHECK(pid > 0, "fork: %ld", pid);
    syscall(SYS_close, (word)end[0]);
    word different = write_on(writes, seed);
    CHECK_EQ(wrong_in_all(written), 0, "wrong words while the child lives");
    syscall(SYS_close, (word)end[1]);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "the status of the child, which found wrong words");
    word promoted = wait_until_huge(2000);
    strays = sum_of("/proc/vmstat", "res_pages_brought_back") - strays;
    CHECK_EQ(wrong_in_all(written), 0, "wrong words when the child is gone");
    say("regions %lu promoted %lu strays %lu", regions, promoted, strays);
    CHECK_EQ(promoted, regions, "regions that are huge when the child is gone");
    CHECK_EQ(strays, different, "pages brought back, and pages written while the child lived");
    return finish();
}
