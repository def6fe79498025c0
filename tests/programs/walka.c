/*
 * walka: walk A (page fault, reservation, promotion) as a user process sees it.
 *
 *     walka [pages] [threshold=256] [wait=0]
 *
 * Maps anonymous memory that contains whole 2 MiB blocks, asks for huge pages, and writes `pages` pages (default 512)
 * one at a time, upwards from the first aligned address. The kernel may examine the tables at each stop:
 *
 *     walka-mapped      nothing touched yet
 *     walka-first       one page written
 *     walka-below       threshold - 1 pages of the first block written
 *     walka-reached     threshold pages written; promotion may now happen at any time
 *     walka-waited      `wait` milliseconds later (kpromoted works asynchronously)
 *     walka-written     all `pages` pages written
 *     walka-verified    every word read back; untouched pages of the last block read as zero
 *     walka-unmapped    the address is free again
 *
 * Stops that lie beyond `pages` are left out.
 */
#include "start.h"

enum { SEED = 0xa };

static void wait_ms(word ms)
{
    for (word end = now() + ms * 1000000; now() < end;) {
        sleep_ns(1000000);
        yield();
    }
}

static void write_pages(word base, word pages, word threshold, word wait)
{
    for (word page = 0; page < pages; page++) {
        fill_page(base + page * PAGE, SEED);
        if (page + 1 == 1)
            stop("walka-first", base);
        if (page + 1 == threshold - 1)
            stop("walka-below", base);
        if (page + 1 == threshold) {
            stop("walka-reached", base);
            wait_ms(wait);
            stop("walka-waited", base);
        }
    }
    stop("walka-written", base);
}

int main(int argc, char **argv)
{
    word pages = argc > 1 && *argv[1] >= '0' && *argv[1] <= '9' ? number(argv[1]) : 512;
    word threshold = option(argv, "threshold", 256);
    word wait = option(argv, "wait", 0);
    word blocks = ROUND_UP(pages * PAGE, BLOCK);
    word bytes = blocks + 2 * BLOCK;
    word region = must_map(bytes);
    word base = ROUND_UP(region, BLOCK);
    word touched = pages * PAGE;

    CHECK_EQ(sys_madvise(region, bytes, MADV_HUGEPAGE), 0, "madvise HUGEPAGE");
    say("%lu pages at %#lx, threshold %lu", pages, base, threshold);
    stop("walka-mapped", base);
    write_pages(base, pages, threshold, wait);

    CHECK_EQ(wrong_words(base, touched, SEED), 0, "words that lost their content");
    CHECK_EQ(nonzero_words(base + touched, blocks - touched), 0, "words of untouched pages that are not 0");
    stop("walka-verified", base);

    CHECK_EQ(sys_munmap(region, bytes), 0, "munmap");
    CHECK(unwritable(base), "nothing is mapped at %#lx after munmap", base);
    stop("walka-unmapped", base);
    return finish();
}
