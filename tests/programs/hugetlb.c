/*
 * hugetlb: walk B (a page of the 2 MiB pool) as a user process sees it.
 *
 *     hugetlb [pages] [pool=N]
 *
 * Maps `pages` huge pages (default 1), touches and verifies them. With pool=N, which must be the number of free pages
 * in the pool, it also takes all N and is refused N + 1. The kernel may examine this process at each stop:
 *
 *     hugetlb-reserved  mapped, not touched: pages reserved in the pool
 *     hugetlb-mapped    every page touched
 *     hugetlb-unmapped  pages back in the pool
 *
 * On Linux it needs a pool: `echo N > /proc/sys/vm/nr_hugepages`.
 */
#include "start.h"

enum { HUGE_2M = MAP_HUGETLB | 21 << MAP_HUGE_SHIFT, HUGE_16K = MAP_HUGETLB | 14 << MAP_HUGE_SHIFT };

static long map_huge(word pages)
{
    return sys_mmap(0, pages * BLOCK, RW, ANON | HUGE_2M);
}

static void check_content(word base, word pages)
{
    CHECK_EQ(nonzero_words(base, pages * BLOCK), 0, "words of a new huge page that are not 0");
    for (word page = base; page < base + pages * BLOCK; page += PAGE)
        fill_page(page, 0xb);
    CHECK_EQ(wrong_words(base, pages * BLOCK, 0xb), 0, "words that lost their content");
}

static void check_protection(word base)
{
    CHECK_EQ(sys_mprotect(base, BLOCK, PROT_READ), 0, "mprotect a huge page read-only");
    CHECK(unwritable(base + 5 * PAGE), "a read-only huge page is not written");
    CHECK_EQ(wrong_words(base, BLOCK, 0xb), 0, "words that differ in the read-only huge page");
    CHECK_EQ(sys_mprotect(base, BLOCK, RW), 0, "mprotect it back");
    CHECK_EQ(wrong_words(base, BLOCK, 0xb), 0, "words that changed by mprotect");
    CHECK_EQ(sys_mprotect(base, PAGE, PROT_READ), -EINVAL, "mprotect of a part of a huge page");
}

static void check_refusals(word base)
{
    CHECK_EQ(sys_munmap(base + PAGE, PAGE), -EINVAL, "munmap inside a huge page");
    CHECK_EQ(sys_munmap(base, PAGE), -EINVAL, "munmap of the start of a huge page");
    CHECK_EQ(wrong_words(base, BLOCK, 0xb), 0, "words that changed by a refused munmap");
    CHECK_EQ(map_huge(1 << 20), -ENOMEM, "mmap of 2 TiB of huge pages");
    CHECK_EQ(sys_mmap(0, 0, RW, ANON | HUGE_2M), -EINVAL, "mmap of 0 bytes of huge pages");
    CHECK_EQ(sys_mmap(base + PAGE, BLOCK, RW, ANON | HUGE_2M | MAP_FIXED), -EINVAL,
             "mmap MAP_FIXED off a 2 MiB boundary");
    CHECK_EQ(sys_mmap(0, BLOCK, RW, ANON | HUGE_16K), -EINVAL, "mmap with a size that has no pool");
}

static void check_pool(word pool)
{
    long all = map_huge(pool);
    CHECK(all > 0, "the whole pool of %lu pages: %ld", pool, all);
    if (all < 0)
        return;
    CHECK_EQ(map_huge(1), -ENOMEM, "one more than the pool");
    for (word page = 0; page < pool; page++)
        store((word)all + page * BLOCK, page);
    CHECK_EQ(sys_munmap((word)all, pool * BLOCK), 0, "munmap the whole pool");
    CHECK_EQ(map_huge(pool + 1), -ENOMEM, "the pool and one page");
}

int main(int argc, char **argv)
{
    word pages = argc > 1 && *argv[1] >= '0' && *argv[1] <= '9' ? number(argv[1]) : 1;
    word pool = option(argv, "pool", 0);
    long got = map_huge(pages), again;
    word base = (word)got;

    CHECK(got > 0 && base % BLOCK == 0, "mmap of %lu huge pages: %#lx", pages, base);
    if (failures)
        return finish();
    say("%lu huge pages at %#lx", pages, base);
    stop("hugetlb-reserved", base);
    check_content(base, pages);
    stop("hugetlb-mapped", base);

    check_protection(base);
    check_refusals(base);
    CHECK_EQ(sys_munmap(base, pages * BLOCK), 0, "munmap");
    CHECK(unwritable(base), "nothing is mapped at %#lx after munmap", base);
    stop("hugetlb-unmapped", base);

    again = map_huge(pages);
    CHECK(again > 0, "mmap of the same number again: %ld", again);
    if (again > 0) {
        CHECK_EQ(nonzero_words((word)again, pages * BLOCK), 0, "words left over from the last user");
        CHECK_EQ(sys_munmap((word)again, pages * BLOCK), 0, "munmap");
    }
    if (pool)
        check_pool(pool);
    return finish();
}
