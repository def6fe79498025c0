/*
 * postcopy: a process goes on while its memory arrives: how long it waits for a page, and for how many bytes.
 *
 *     postcopy [shift=30] [pages=1] [touches=512] [rounds=1] [seed=1] [quiet=0]
 *
 * Shared memory of `pages` hugetlb pages of 2^shift bytes is registered with a context, a source of the kernel brings its
 * content, and the process reads words of 4 KiB at random places meanwhile, and holds what it finds against what must
 * be there. `whole`: entries of a page's own size, so that a page can be seen when all of it has come. `split`: smaller
 * ones are permitted (MADV_SPLIT). It does so `rounds` times over, each time with an object of its own.
 *
 * A *fetch* is a read that had to wait: one of 4 KiB that had not come, or whose huge page was not complete. Prints
 * `whole.postcopy_<size>.<what> <value> <unit>`, the same for `split`, and for `ratio` how many times the one is the
 * other. Where the machine permits no smaller entries (hgm=off) there is `whole` only.
 *
 *     touches, fetches       reads, and those of them that waited: none where all has come before the first one
 *     median, worst          a fetch, in ns: instructions where the machine counts these
 *     bytes, most_bytes      what came while a fetch waited: the median, and the most
 *     waited                 all fetches of a round, in ns
 *
 * With `quiet=1` it prints none of that.
 */
#include "userfault.h"

enum { MOST = 16384, ENTERED = 1000 };

struct run {
    word fetches, touches, median, worst, bytes, most_bytes, waited;
};

static word latency[MOST], came[MOST], shift, bytes, touches, quiet, state;

static void row(const char *who, const char *what, word value, const char *unit)
{
    word prefix = shift / 10;
    struct line line;
    if (quiet)
        return;
    line.used = 0;
    put_text(&line, who), put_text(&line, ".postcopy_");
    put_number(&line, 1ul << (shift - 10 * prefix), 10);
    put_char(&line, "bkmg"[prefix]), put_char(&line, '.'), put_text(&line, what), put_char(&line, ' ');
    put_number(&line, value, 10), put_char(&line, ' ');
    put_text(&line, unit);
    send(&line);
}

static word arrived(long fd)
{
    struct quire_source source = {0, 0, 0, 0};
    uffd_ioctl(fd, QUIRE_UFFDIO_SOURCE, &source);
    return source.arrived;
}

static void sort(word *values, word many)
{
    for (word gap = many / 2; gap; gap /= 2)
        for (word i = gap; i < many; i++) {
            word value = values[i], j = i;
            for (; j >= gap && values[j - gap] > value; j -= gap)
                values[j] = values[j - gap];
            values[j] = value;
        }
}

/* One round. The fetches are added to those of the rounds before. */
static void round_of(struct run *run, int split, word seed)
{
    long object = huge_object(shift, bytes), va = map_shared(object, bytes);
    struct quire_source source = {(word)va, bytes, seed, 0};
    CHECK(va > 0, "mmap of %lu bytes: %ld", bytes, va);
    if (va < 0) {
        syscall(SYS_close, (word)object);
        return;
    }
    if (split)
        CHECK_EQ(sys_madvise((word)va, bytes, MADV_SPLIT), 0, "MADV_SPLIT");
    long fd = uffd_open(0, UFFD_FEATURE_MINOR_HUGETLBFS);
    CHECK_EQ(uffd_register(fd, (word)va, bytes, MODE_MINOR), 0, "UFFDIO_REGISTER");
    CHECK_EQ(uffd_ioctl(fd, QUIRE_UFFDIO_SOURCE, &source), 0, "a source");
    word wrong = 0;
    for (word n = 0; n < touches; n++) {
        word at = random_below(&state, bytes / PAGE) * PAGE;
        word before = arrived(fd), began = now();
        word first = load((word)va + at);
        word took = now() - began, more = arrived(fd) - before;
        wrong += first != pattern(at, seed);
        for (word word_at = at; word_at < at + PAGE; word_at += 8)
            wrong += load((word)va + word_at) != pattern(word_at, seed);
        run->touches++;
        if (more && took > ENTERED && run->fetches < MOST) {
            latency[run->fetches] = took, came[run->fetches] = more;
            run->fetches++, run->waited += took;
        }
    }
    CHECK_EQ(wrong, 0, "words that are not what was sent");
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
    sys_munmap((word)va, bytes);
    CHECK_EQ(syscall(SYS_close, (word)object), 0, "close of the object");
}

static struct run measure(const char *who, int split, word rounds, word seed)
{
    struct run run = {0, 0, 0, 0, 0, 0, 0};
    state = seed;
    for (word n = 0; n < rounds; n++)
        round_of(&run, split, seed + n);
    if (run.fetches) {
        sort(latency, run.fetches), sort(came, run.fetches);
        run.median = latency[run.fetches / 2], run.worst = latency[run.fetches - 1];
        run.bytes = came[run.fetches / 2], run.most_bytes = came[run.fetches - 1];
        run.waited /= rounds;
    }
    row(who, "touches", run.touches, "reads");
    row(who, "fetches", run.fetches, "reads");
    row(who, "median", run.median, "ns");
    row(who, "worst", run.worst, "ns");
    row(who, "bytes", run.bytes, "bytes");
    row(who, "most_bytes", run.most_bytes, "bytes");
    row(who, "waited", run.waited, "ns");
    return run;
}

/* Whether smaller entries than a page's are. */
static int permitted(void)
{
    long object = huge_object(shift, bytes), va = map_shared(object, bytes);
    long answer = va > 0 ? sys_madvise((word)va, bytes, MADV_SPLIT) : va;
    CHECK(answer == 0 || answer == -EINVAL, "MADV_SPLIT: %ld", answer);
    sys_munmap((word)va, bytes), syscall(SYS_close, (word)object);
    return answer == 0;
}

static word times(word more, word less)
{
    return less ? more / less : 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    shift = option(argv, "shift", 30), touches = option(argv, "touches", 512), quiet = option(argv, "quiet", 0);
    bytes = option(argv, "pages", 1) << shift;
    word rounds = option(argv, "rounds", 1), seed = option(argv, "seed", 1);
    struct run whole = measure("whole", 0, rounds, seed);
    if (!permitted())
        return finish();
    struct run split = measure("split", 1, rounds, seed);
    row("ratio", "median", times(whole.median, split.median), "times");
    row("ratio", "worst", times(whole.worst, split.worst), "times");
    row("ratio", "bytes", times(whole.bytes, split.bytes), "times");
    row("ratio", "waited", times(whole.waited, split.waited), "times");
    return finish();
}
