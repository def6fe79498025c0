/*
 * collapse: memory that khugepaged may collapse while it is used: a block with a page here and there, a block of zeros, a
 * block that must stay small. All contents are verified, alone and by a child.
 *
 *     collapse [ms=100]
 *
 * The kernel may examine the tables at the stop:
 *
 *     collapse-written   the first block has a page in eight, the second reads as zeros, the third is MADV_NOHUGEPAGE
 *
 * From there it writes for `ms` milliseconds, and then verifies.
 */
#include "process.h"

enum { SEED = 0xc, STEP = 8, PAGES = 512 };

static word wrong_pages(word base)
{
    word wrong = 0;
    for (word page = 1; page < PAGES; page++)
        wrong += page % STEP ? nonzero_words(base + page * PAGE, PAGE) : wrong_words(base + page * PAGE, PAGE, SEED);
    return wrong;
}

int main(int argc, char **argv)
{
    (void)argc;
    word ms = option(argv, "ms", 100);
    word region = must_map(4 * BLOCK), base = ROUND_UP(region, BLOCK), zeros = base + BLOCK, small = zeros + BLOCK;
    CHECK_EQ(sys_madvise(small, BLOCK, MADV_NOHUGEPAGE), 0, "madvise NOHUGEPAGE");
    for (word page = STEP; page < PAGES; page += STEP)
        fill_page(base + page * PAGE, SEED);
    CHECK_EQ(nonzero_words(zeros, BLOCK), 0, "words of new memory that are not 0");
    for (word page = 0; page < PAGES; page++)
        fill_page(small + page * PAGE, SEED);
    store(base, 0);
    stop("collapse-written", base);

    word counter = 0;
    for (word end = now() + ms * 1000000; now() < end; counter++) {
        CHECK(load(base) == counter, "the counter says %lu, not %lu", load(base), counter);
        store(base, counter + 1);
    }
    CHECK_EQ(wrong_pages(base), 0, "wrong words");
    CHECK_EQ(nonzero_words(zeros, BLOCK), 0, "words of zeros that are not 0");
    CHECK_EQ(wrong_words(small, BLOCK, SEED), 0, "wrong words of the small block");
    long pid = fork();
    if (pid == 0) {
        store(base, 0);
        quit(wrong_pages(base) != 0);
    }
    int status = -1;
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "the child found wrong words");
    CHECK_EQ(load(base), counter, "the counter after a child has changed its own");
    CHECK_EQ(sys_munmap(region, 4 * BLOCK), 0, "munmap");
    return finish();
}
