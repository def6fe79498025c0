/*
 * workload: what a policy for huge pages gives and costs, by the way in which a process uses its memory.
 *
 *     workload <way> [as=NAME] [mib=32] [seed=1] [settle=200]
 *
 *     sequential   every page, in ascending order
 *     dense        every page of one 2 MiB region in random order, region after region
 *     random       of each region a random number of pages, 1..512, in random places
 *     sparse       eight pages of each region
 *     grow         a heap: 64 KiB at its end, and now and then 64 KiB of its midst are given up
 *     short        processes that write 2 MiB each and end
 *     snapshot     every page; then a child reads all of it while the parent writes 64 pages of each region; it ends
 *
 * Prints figures, one a line, `NAME.<way>.<what> <value> <unit>`. A latency is that of a write that entered the kernel
 * (more than ENTERED ns): the way is gone three times over, and the least of the three counts, so that no timer
 * interrupt does. Memory is looked at after the last time, when kernel threads have had `settle` ms and nothing more
 * has changed.
 */
#include "process.h"

enum { MOST = 32768, ROUNDS = 3, ENTERED = 100, SAMPLES = 128, STEP = 16, WRITTEN = 64 };

static uint32_t latency[MOST], sorted[MOST];
static uint16_t order[512];
static char text[16384];
static const char *name = "workload", *way;
static word state, touches, spent, least_spent, area, bytes;
static int measuring;

static void row(const char *what, word value, const char *unit)
{
    struct line line;
    line.used = 0;
    put_text(&line, name), put_char(&line, '.');
    put_text(&line, way), put_char(&line, '.');
    put_text(&line, what), put_char(&line, ' ');
    put_number(&line, value, 10), put_char(&line, ' ');
    put_text(&line, unit);
    send(&line);
}

/* The number after `key` at the beginning of a line of the file; 0 where there is none. */
static word number_in(const char *path, const char *key)
{
    long file = syscall(SYS_openat, (word)AT_FDCWD, (word)path, 0);
    long got, used = 0;
    while (file >= 0 && used < (long)sizeof text - 1 &&
           (got = syscall(SYS_read, (word)file, (word)text + (word)used, sizeof text - 1 - (word)used)) > 0)
        used += got;
    syscall(SYS_close, (word)file);
    text[used] = 0;
    for (const char *line = text; *line;) {
        const char *c = line, *k = key;
        while (*k && *c == *k)
            c++, k++;
        if (!*k && (*c == ' ' || *c == ':')) {
            word value = 0;
            for (c++; *c == ' '; c++)
                ;
            for (; *c >= '0' && *c <= '9'; c++)
                value = value * 10 + (word)(*c - '0');
            return value;
        }
        while (*line && *line++ != '\n')
            ;
    }
    return 0;
}

static word vmstat(const char *counter)
{
    return number_in("/proc/vmstat", counter);
}

static word rollup(const char *field)
{
    return number_in("/proc/self/smaps_rollup", field);
}

/* One instruction is one ns where the machine counts instructions. */
static inline word clock(void)
{
    word value;
    __asm__ volatile("isb\n mrs %0, cntvct_el0" : "=r"(value) : : "memory");
    return value;
}

static void touch(word va)
{
    word began = clock();
    store(va, va | 1);
    word took = clock() - began;
    if (!measuring)
        return;
    spent += took;
    if (touches < MOST && took < latency[touches])
        latency[touches] = (uint32_t)took;
    touches++;
}

static void shuffle(word pages)
{
    for (word i = 0; i < 512; i++)
        order[i] = (uint16_t)i;
    for (word i = 0; i < pages; i++) {
        word j = i + random_below(&state, 512 - i);
        uint16_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

static void scatter(word region, word pages)
{
    shuffle(pages);
    for (word i = 0; i < pages; i++)
        touch(region + order[i] * PAGE);
}

static void grow(void)
{
    for (word end = 0; end < bytes; end += STEP * PAGE) {
        for (word page = 0; page < STEP; page++)
            touch(area + end + page * PAGE);
        if (end && !random_below(&state, 3))
            sys_madvise(area + random_below(&state, end / (STEP * PAGE)) * STEP * PAGE, STEP * PAGE, MADV_DONTNEED);
    }
}

static void short_lived(void)
{
    for (word region = area; region < area + bytes; region += BLOCK) {
        word began = clock();
        int status = 0;
        long pid = fork();
        if (!pid) {
            for (word va = region; va < region + BLOCK; va += PAGE)
                store(va, va);
            quit(0);
        }
        CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
        spent += clock() - began;
    }
}

static word wrong_first_words(void)
{
    word wrong = 0;
    for (word va = area; va < area + bytes; va += PAGE)
        wrong += load(va) != (va | 1);
    return wrong;
}

/* The child reads while the parent writes: it reads first half, waits for the parent, reads the rest. */
static void snapshot(void)
{
    int go[2], status = 0;
    CHECK_EQ(syscall(SYS_pipe2, (word)go, 0), 0, "pipe2");
    long pid = fork();
    if (!pid) {
        char c;
        word wrong = wrong_first_words();
        syscall(SYS_close, (word)go[1]);
        syscall(SYS_read, (word)go[0], (word)&c, 1);
        quit(wrong || wrong_first_words() ? 1 : 0);
    }
    for (word region = area; region < area + bytes; region += BLOCK) {
        shuffle(WRITTEN);
        for (word i = 0; i < WRITTEN; i++)
            touch(region + order[i] * PAGE + 8);
    }
    syscall(SYS_close, (word)go[1]);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "what the child has read");
    syscall(SYS_close, (word)go[0]);
}

static void go(void)
{
    if (same(way, "short"))
        return short_lived();
    if (same(way, "grow"))
        return grow();
    for (word region = area; region < area + bytes; region += BLOCK) {
        if (same(way, "sequential") || same(way, "snapshot"))
            for (word page = 0; page < 512; page++)
                touch(region + page * PAGE);
        else if (same(way, "dense"))
            scatter(region, 512);
        else if (same(way, "random"))
            scatter(region, 1 + random_below(&state, 512));
        else
            scatter(region, 8);
    }
}

/* Until the kernel threads have nothing more to do. */
static void settle(word ms)
{
    word before = ~0ul, now_kib = rollup("Rss") + rollup("AnonHugePages");
    for (word tries = 0; tries < 20 && before != now_kib; tries++) {
        sleep_ns(ms * 1000000);
        before = now_kib;
        now_kib = rollup("Rss") + rollup("AnonHugePages");
    }
}

/* Shell sort of the latencies of writes that entered the kernel; returns how many. */
static word sort(void)
{
    word count = 0;
    for (word i = 0; i < (touches < MOST ? touches : MOST); i++)
        if (latency[i] > ENTERED)
            sorted[count++] = latency[i];
    for (word gap = count / 2; gap; gap /= 2)
        for (word i = gap; i < count; i++) {
            uint32_t value = sorted[i];
            word j = i;
            for (; j >= gap && sorted[j - gap] > value; j -= gap)
                sorted[j] = sorted[j - gap];
            sorted[j] = value;
        }
    return count;
}

static void print_latencies(void)
{
    word count = sort();
    row("faults", count, "count");
    if (!count)
        return;
    row("p50", sorted[count / 2], "ns");
    row("p99", sorted[count * 99 / 100], "ns");
    row("max", sorted[count - 1], "ns");
}

static const char *const counters[] = {"res_pages_collapsed", "thp_reunited", "thp_collapse_alloc", "thp_fault_alloc",
                                       "res_pages_brought_back", "res_pages_filled"};
enum { COUNTERS = sizeof counters / sizeof *counters };

static int known(const char *word)
{
    static const char *const ways[] = {"sequential", "dense", "random", "sparse", "grow", "short", "snapshot"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (same(word, ways[i]))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    word before[COUNTERS], mib = option(argv, "mib", 32), pause = option(argv, "settle", 200);
    way = mode(argc, argv, "dense");
    for (int i = 2; i < argc; i++)
        if (argv[i][0] == 'a' && argv[i][1] == 's' && argv[i][2] == '=')
            name = argv[i] + 3;
    if (!known(way) || !mib || mib % 2 || mib * 256 > MOST) {
        say("not ok - a way that is listed at the top of workload.c, and an even number of MiB, 2..128");
        return 99;
    }
    bytes = mib << 20;
    for (word i = 0; i < MOST; i++)
        latency[i] = ~0u, sorted[i] = 0;
    least_spent = ~0ul;
    for (int round = 0; round < ROUNDS; round++) {
        word mapped = must_map(bytes + BLOCK);
        area = ROUND_UP(mapped, BLOCK);
        state = option(argv, "seed", 1) * 0x9e3779b97f4a7c15 + 1;
        touches = spent = 0;
        measuring = !same(way, "snapshot");
        for (word i = 0; i < COUNTERS; i++)
            before[i] = vmstat(counters[i]);
        go();
        if (same(way, "snapshot")) {
            settle(pause);
            measuring = 1;
            snapshot();
        }
        least_spent = spent < least_spent ? spent : least_spent;
        settle(pause);
        if (round == ROUNDS - 1) {
            print_latencies();
            row("total", least_spent, "ns");
            row("touched", touches * 4, "KiB");
            row("regions", bytes / BLOCK, "count");
            row("huge", rollup("AnonHugePages") / 2048, "count");
            row("rss", rollup("Rss"), "KiB");
            row("reserved", vmstat("nr_thp_reserved") * 4, "KiB");
            for (word i = 0; i < COUNTERS; i++)
                row(counters[i], vmstat(counters[i]) - before[i], "count");
        }
        if (!same(way, "grow") && !same(way, "short") && !same(way, "random") && !same(way, "sparse"))
            CHECK_EQ(wrong_first_words(), 0, "pages with a wrong word");
        CHECK_EQ(sys_munmap(mapped, bytes + BLOCK), 0, "munmap");
    }
    return failures > 99 ? 99 : (int)failures;
}
