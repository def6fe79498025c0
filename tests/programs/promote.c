/*
 * promote: stress for reservations and promotion. Writes the pages of several 2 MiB blocks in a random order, with
 * DONTNEED, mprotect and munmap of random ranges in between, while kpromoted works; after each round every word of
 * every page is compared with what was last written there.
 *
 *     promote [seed=1] [blocks=4] [rounds=3] [ops=40]
 *
 * The same seed gives the same sequence of system calls and writes.
 */
#include "start.h"

enum { MAX_BLOCKS = 64 };

static uint16_t written[MAX_BLOCKS * 512]; /* the seed of each page's pattern; 0: the page is zero */
static uint16_t order[MAX_BLOCKS * 512];
static word base, pages, state;
static uint16_t generation;

static word page_va(word page)
{
    return base + page * PAGE;
}

static word wrong_in_page(word page)
{
    return written[page] ? wrong_words(page_va(page), PAGE, written[page]) : nonzero_words(page_va(page), PAGE);
}

static void write_page(word page)
{
    CHECK_EQ(load(page_va(page) + 8), written[page] ? pattern(page_va(page) + 8, written[page]) : 0,
             "the second word of a page before it is written");
    written[page] = ++generation ? generation : ++generation;
    fill_page(page_va(page), written[page]);
}

static void verify_range(word first, word count, const char *when)
{
    word wrong = 0, where = 0;
    for (word page = first; page < first + count; page++) {
        word in_page = wrong_in_page(page);
        if (in_page && !wrong)
            where = page_va(page);
        wrong += in_page;
    }
    CHECK(!wrong, "%lu wrong words %s, first in the page %#lx", wrong, when, where);
}

static void forget(word first, word count)
{
    for (word page = first; page < first + count; page++)
        written[page] = 0;
}

static void discard(word first, word count)
{
    CHECK_EQ(sys_madvise(page_va(first), count * PAGE, MADV_DONTNEED), 0, "madvise DONTNEED");
    forget(first, count);
}

static void protect(word first, word count)
{
    CHECK_EQ(sys_mprotect(page_va(first), count * PAGE, PROT_READ), 0, "mprotect READ");
    verify_range(first, count, "in a read-only range");
    CHECK(unwritable(page_va(first)) && unwritable(page_va(first + count - 1)), "a read-only range is not written");
    CHECK_EQ(sys_mprotect(page_va(first), count * PAGE, RW), 0, "mprotect RW");
    CHECK(writable(page_va(first)), "the range is written again");
}

static void remap(word first, word count)
{
    CHECK_EQ(sys_munmap(page_va(first), count * PAGE), 0, "munmap");
    CHECK(unwritable(page_va(first)) && unwritable(page_va(first + count - 1)), "the range is gone");
    CHECK_EQ(sys_mmap(page_va(first), count * PAGE, RW, ANON | MAP_FIXED), page_va(first), "mmap MAP_FIXED");
    sys_madvise(page_va(first), count * PAGE, MADV_HUGEPAGE);
    forget(first, count);
}

static void disturb(void)
{
    word longest = random_below(&state, 8) ? 64 : 1024;
    word first = random_below(&state, pages);
    word count = 1 + random_below(&state, longest < pages - first ? longest : pages - first);
    switch (random_below(&state, 5)) {
    case 0:
        discard(first, count);
        break;
    case 1:
        protect(first, count);
        break;
    case 2:
        remap(first, count);
        break;
    case 3:
        yield();
        break;
    default:
        sleep_ns(200000 + random_below(&state, 2000000));
    }
}

static void shuffle(void)
{
    for (word i = 0; i < pages; i++)
        order[i] = (uint16_t)i;
    for (word i = pages - 1; i > 0; i--) {
        word j = random_below(&state, i + 1);
        uint16_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

/* Writes about three quarters of all pages; `ops` disturbances fall between the writes at random. */
static void one_round(word ops)
{
    shuffle();
    for (word i = 0; i < pages * 3 / 4; i++) {
        write_page(order[i]);
        if (random_below(&state, pages * 3 / 4) < ops)
            disturb();
    }
}

int main(int argc, char **argv)
{
    word seed = option(argv, "seed", 1);
    word blocks = option(argv, "blocks", 4);
    word rounds = option(argv, "rounds", 3);
    word ops = option(argv, "ops", 40);
    (void)argc;
    if (!blocks || blocks > MAX_BLOCKS) {
        say("not ok - blocks: 1..%d", MAX_BLOCKS);
        return 99;
    }
    word bytes = (blocks + 1) * BLOCK, region = must_map(bytes);
    base = ROUND_UP(region, BLOCK), pages = blocks * 512, state = seed * 0x9e3779b97f4a7c15 + 1;
    say("seed=%lu, %lu blocks at %#lx, %lu rounds of %lu ops", seed, blocks, base, rounds, ops);
    CHECK_EQ(sys_madvise(region, bytes, MADV_HUGEPAGE), 0, "madvise HUGEPAGE");
    for (word round = 1; round <= rounds; round++) {
        one_round(ops);
        verify_range(0, pages, "after a round");
    }
    CHECK_EQ(sys_munmap(region, bytes), 0, "munmap");
    if (failures)
        say("seed=%lu failed", seed);
    return finish();
}
