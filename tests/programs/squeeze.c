/*
 * squeeze: a machine that is short of memory. Reservations go first, and the largest process last.
 *
 *     squeeze hot [mib=18]      reserves 8 blocks, keeps one hot while `mib` MiB of small pages squeeze the others,
 *                                    then completes it; every byte is verified
 *     squeeze sparse [blocks=160]   writes 24 pages of each block, more blocks than there is memory, and verifies them
 *     squeeze fork|split|promote|fill|reunite|collapse|shared [mib=64]   a child takes up to `mib` MiB and is killed for it,
 *                                    while this process forks, splits huge pages, writes all of them or a few pages of
 *                                    each, writes to what a child shares, or collapses; its own memory stays as it was
 *                                    written. `shared`: the child's memory is shared, and this process has hugetlb
 *
 * Status: 0; `sparse` 137 where huge pages are not split for their zeros.
 */
#include "process.h"

enum { BLOCKS = 8, PAGES = 512, MAP_SHARED = 1 };

static word aligned(word blocks)
{
    word start = must_map((blocks + 1) * BLOCK), at = ROUND_UP(start, BLOCK);
    if (at != start)
        CHECK_EQ(sys_munmap(start, at - start), 0, "munmap of the head");
    return at;
}

static void hot(word mib)
{
    word base = aligned(BLOCKS), next = 1;
    for (word n = 0; n < BLOCKS; n++)
        fill_page(base + n * BLOCK, n);
    word small = must_map(mib << 20), pages = (mib << 20) / PAGE;
    CHECK_EQ(sys_madvise(small, mib << 20, MADV_NOHUGEPAGE), 0, "MADV_NOHUGEPAGE");
    for (word n = 0; n < pages; n++) {
        store(small + n * PAGE, n + 1);
        if (n % 16 == 0 && next < PAGES)
            fill_page(base + PAGE * next++, 0);
    }
    while (next < PAGES)
        fill_page(base + PAGE * next++, 0);
    word wrong = wrong_words(base, BLOCK, 0);
    for (word n = 1; n < BLOCKS; n++)
        wrong += wrong_words(base + n * BLOCK, PAGE, n);
    CHECK_EQ(wrong, 0, "wrong words of the blocks");
    for (word n = 0; n < pages; n++)
        wrong += load(small + n * PAGE) != n + 1;
    CHECK_EQ(wrong, 0, "wrong words of the small pages");
    sleep_ns(100000000);
}

static void sparse(word blocks)
{
    word base = aligned(blocks), wrong = 0;
    for (word n = 0; n < blocks; n++)
        for (word page = 0; page < 24; page++)
            fill_page(base + n * BLOCK + 20 * page * PAGE, n);
    for (word n = 0; n < blocks; n++)
        for (word page = 0; page < 24; page++) {
            word at = base + n * BLOCK + 20 * page * PAGE;
            wrong += wrong_words(at, PAGE, n);
            if (n < 12)
                wrong += nonzero_words(at + PAGE, 19 * PAGE);
        }
    CHECK_EQ(wrong, 0, "wrong words of the blocks");
}

static void take_all(word mib, int sharing)
{
    word base = (word)sys_mmap(0, mib << 20, RW, sharing | MAP_ANONYMOUS);
    for (word page = base; page < base + (mib << 20); page += PAGE)
        store(page, page);
    quit(0);
}

static void once(const char *how, word base, word turn)
{
    if (same(how, "fork")) {
        long child = fork();
        if (child == 0) {
            for (word n = 0; n < 8; n++)
                store(base + n * PAGE, turn);
            quit(load(base + 7 * PAGE) == turn ? 3 : 4);
        }
        int status = 0;
        CHECK(child > 0 || child == -ENOMEM || child == -EAGAIN, "fork: %ld", child);
        if (child > 0) {
            CHECK_EQ(wait4(child, &status, 0), child, "wait4 of the child");
            CHECK_EQ(status, 3 << 8, "status of the child");
        }
    } else if (same(how, "split")) {
        word page = base + turn * 7 % PAGES * PAGE;
        long refused = sys_mprotect(page, PAGE, PROT_READ);
        CHECK(refused == 0 || refused == -ENOMEM, "mprotect of a page: %ld", refused);
        if (refused == 0)
            CHECK_EQ(sys_mprotect(page, PAGE, RW), 0, "mprotect back");
    } else if (same(how, "fill")) {
        // The threshold is 32: what is promoted has mostly zeros, which may go again at any moment.
        CHECK_EQ(sys_madvise(base + BLOCK, BLOCK, MADV_DONTNEED), 0, "MADV_DONTNEED");
        for (word n = 0; n < 40; n++)
            store(base + BLOCK + n * 12 * PAGE, turn + n);
        word wrong = 0;
        for (word n = 0; n < 40; n++)
            wrong += load(base + BLOCK + n * 12 * PAGE) != turn + n;
        for (word n = 0; n < 40; n++)
            wrong += nonzero_words(base + BLOCK + (n * 12 + 1) * PAGE, PAGE);
        CHECK_EQ(wrong, 0, "wrong words of a range that is filled");
    } else if (same(how, "reunite")) {
        long child = fork();
        if (child == 0)
            quit(wrong_words(base + turn % PAGES * PAGE, PAGE, 5) == 0 ? 3 : 4);
        CHECK(child > 0 || child == -ENOMEM || child == -EAGAIN, "fork: %ld", child);
        for (word n = 0; n < 16; n++)
            fill_page(base + (turn * 16 + n) % PAGES * PAGE, 5);
        int status = 0;
        if (child > 0) {
            CHECK_EQ(wait4(child, &status, 0), child, "wait4 of the child");
            CHECK_EQ(status, 3 << 8, "status of the child");
        }
    } else {
        int collapses = same(how, "collapse");
        CHECK_EQ(sys_madvise(base + BLOCK, BLOCK, MADV_DONTNEED), 0, "MADV_DONTNEED");
        for (word n = 0; n < PAGES; n++)
            store(base + BLOCK + n * PAGE, turn + n);
        long refused = collapses ? sys_madvise(base + BLOCK, BLOCK, MADV_COLLAPSE) : 0;
        CHECK(refused == 0 || refused == -ENOMEM || refused == -EAGAIN, "MADV_COLLAPSE: %ld", refused);
        word wrong = 0;
        for (word n = 0; n < PAGES; n++)
            wrong += load(base + BLOCK + n * PAGE) != turn + n;
        CHECK_EQ(wrong, 0, "wrong words of a range that is promoted");
    }
}

static void rival(const char *how, word mib)
{
    word base = aligned(2), turn = 0;
    int shares = same(how, "shared");
    if (shares) {
        /* What the pool has does not count: it would be no freer without this process. */
        long pool = sys_mmap(0, 4 * BLOCK, RW, ANON | MAP_HUGETLB);
        for (word n = 0; pool > 0 && n < 4; n++)
            store((word)pool + n * BLOCK, n);
        how = "fork";
    }
    for (word n = 0; n < PAGES; n++)
        fill_page(base + n * PAGE, 5);
    long hog = fork();
    if (hog == 0)
        take_all(mib, shares ? MAP_SHARED : MAP_PRIVATE);
    CHECK(hog > 0, "fork: %ld", hog);
    int status = 0;
    long ended = 0;
    while (hog > 0 && (ended = wait4(hog, &status, WNOHANG)) == 0)
        once(how, base, ++turn);
    say("%s: %lu turns while the other grew", how, turn);
    CHECK_EQ(ended, hog, "wait4 of the largest");
    CHECK_EQ(status, 9, "the largest was killed");
    for (word n = 0; n < 3; n++)
        once(how, base, ++turn);
    CHECK_EQ(wrong_words(base, BLOCK, 5), 0, "wrong words of this process");
}

int main(int argc, char **argv)
{
    const char *how = mode(argc, argv, "hot");
    if (same(how, "hot"))
        hot(option(argv, "mib", 18));
    else if (same(how, "sparse"))
        sparse(option(argv, "blocks", 160));
    else if (same(how, "fork") || same(how, "split") || same(how, "promote") || same(how, "fill") ||
             same(how, "reunite") || same(how, "collapse") || same(how, "shared"))
        rival(how, option(argv, "mib", 64));
    else
        CHECK(0, "no mode `%s`", how);
    return finish();
}
