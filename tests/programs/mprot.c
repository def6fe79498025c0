/*
 * mprot: the meaning of mmap, munmap, mprotect, madvise DONTNEED and brk.
 *
 *     mprot                what must work; status 0
 *     mprot <mode>         one access that must kill the process (139):
 *                          write-readonly read-none touch-unmapped touch-shrunk touch-hole execute-readonly
 */
#include "start.h"

enum { PAGES = 8 };

static void fill(word base, word pages, word seed)
{
    for (word i = 0; i < pages; i++)
        fill_page(base + i * PAGE, seed);
}

static void intact(word base, word from, word to, word seed, const char *what)
{
    CHECK_EQ(wrong_words(base + from * PAGE, (to - from) * PAGE, seed), 0, what);
}

static void zero(word base, word from, word to, const char *what)
{
    CHECK_EQ(nonzero_words(base + from * PAGE, (to - from) * PAGE), 0, what);
}

static void unmap_splits(void)
{
    word base = must_map(PAGES * PAGE);
    zero(base, 0, PAGES, "words of new memory that are not 0");
    fill(base, PAGES, 1);
    CHECK_EQ(sys_munmap(base + 2 * PAGE, 2 * PAGE), 0, "munmap in the middle");
    CHECK(unwritable(base + 2 * PAGE) && unwritable(base + 3 * PAGE), "pages 2 and 3 are gone");
    intact(base, 0, 2, 1, "words below the hole that changed");
    intact(base, 4, PAGES, 1, "words above the hole that changed");
    CHECK_EQ(sys_mmap(base + 2 * PAGE, PAGE, RW, ANON), base + 2 * PAGE, "mmap with a free address as a hint");
    zero(base, 2, 3, "words of the new page that are not 0");
    CHECK_EQ(sys_munmap(base, PAGES * PAGE), 0, "munmap of two VMAs and a hole");
    for (word i = 0; i < PAGES; i++)
        CHECK(unwritable(base + i * PAGE), "page %lu is gone", i);
    CHECK_EQ(sys_munmap(base, PAGES * PAGE), 0, "munmap of nothing");
}

static void protect(void)
{
    word base = must_map(PAGES * PAGE);
    fill(base, 6, 2);
    CHECK_EQ(sys_mprotect(base + PAGE, 3 * PAGE, PROT_READ), 0, "mprotect READ in the middle");
    CHECK(unwritable(base + PAGE) && unwritable(base + 3 * PAGE), "pages 1 to 3 are not written");
    CHECK(writable(base) && writable(base + 4 * PAGE), "their neighbours are written");
    CHECK_EQ(sys_mprotect(base + 2 * PAGE, PAGE, PROT_NONE), 0, "mprotect NONE");
    CHECK(unwritable(base + 2 * PAGE), "page 2 is not written");
    CHECK_EQ(sys_mprotect(base + 5 * PAGE, 3 * PAGE, PROT_READ), 0, "mprotect READ over untouched pages");
    zero(base, 6, PAGES, "words of untouched read-only pages that are not 0");
    CHECK(unwritable(base + 7 * PAGE), "a read-only page that was only read is not written");
    CHECK_EQ(sys_mprotect(base, PAGES * PAGE, RW), 0, "mprotect all back");
    intact(base, 0, 6, 2, "words that changed by mprotect");
    for (word i = 0; i < PAGES; i++)
        CHECK(writable(base + i * PAGE), "page %lu is written again", i);
    sys_munmap(base, PAGES * PAGE);
}

static void discard(void)
{
    word base = must_map(PAGES * PAGE);
    fill(base, PAGES, 3);
    CHECK_EQ(sys_madvise(base + 3 * PAGE, 2 * PAGE, MADV_DONTNEED), 0, "madvise DONTNEED");
    zero(base, 3, 5, "words after DONTNEED that are not 0");
    intact(base, 0, 3, 3, "words below DONTNEED that changed");
    intact(base, 5, PAGES, 3, "words above DONTNEED that changed");
    fill(base + 3 * PAGE, 2, 3);
    intact(base, 0, PAGES, 3, "words that changed by writing again");
    CHECK_EQ(sys_mprotect(base, PAGE, PROT_READ), 0, "mprotect READ");
    CHECK_EQ(sys_madvise(base, PAGE, MADV_DONTNEED), 0, "madvise DONTNEED of a read-only page");
    zero(base, 0, 1, "words of the read-only page that are not 0");
    CHECK_EQ(sys_madvise(base, 1, MADV_NOHUGEPAGE), 0, "madvise NOHUGEPAGE");
    CHECK_EQ(sys_madvise(base, PAGES * PAGE, MADV_HUGEPAGE), 0, "madvise HUGEPAGE over two VMAs");
    sys_munmap(base, PAGES * PAGE);
}

static void replace(void)
{
    word base = must_map(PAGES * PAGE);
    fill(base, PAGES, 4);
    CHECK_EQ(sys_mmap(base + PAGE, 2 * PAGE, RW, ANON | MAP_FIXED), base + PAGE, "mmap MAP_FIXED over a mapping");
    zero(base, 1, 3, "words of the replacing mapping that are not 0");
    intact(base, 0, 1, 4, "words below it that changed");
    intact(base, 3, PAGES, 4, "words above it that changed");
    CHECK_EQ(sys_mmap(base, 2 * PAGE, PROT_NONE, ANON | MAP_FIXED), base, "mmap MAP_FIXED PROT_NONE");
    CHECK(unwritable(base) && unwritable(base + PAGE), "pages 0 and 1 are not written");
    sys_munmap(base, PAGES * PAGE);
}

static void grow_and_shrink(void)
{
    word start = sys_brk(0), base = ROUND_UP(start, PAGE), end = base + 4 * PAGE;
    CHECK_EQ(sys_brk(end + 5), end + 5, "brk by 4 pages and 5 bytes");
    zero(base, 0, 5, "words of the grown break that are not 0");
    fill(base, 5, 5);
    CHECK_EQ(sys_brk(end - PAGE), end - PAGE, "brk back by a page and 5 bytes");
    CHECK(unwritable(end - PAGE) && unwritable(end), "the pages above the break are gone");
    intact(base, 0, 3, 5, "words below the break that changed");
    CHECK_EQ(sys_brk(end), end, "brk forth by one page");
    zero(base, 3, 4, "words of the page that came back that are not 0");
    CHECK_EQ(sys_brk(start), start, "brk to its start");
    CHECK(base == start ? unwritable(start) : 1, "the page at the start of the break is gone");
}

/* The same within one 2 MiB block that is all touched, and so perhaps one huge page. */
static void block(void)
{
    word region = must_map(2 * BLOCK), base = ROUND_UP(region, BLOCK);
    sys_madvise(region, 2 * BLOCK, MADV_HUGEPAGE);
    fill(base, 512, 6);
    sleep_ns(5000000);
    CHECK_EQ(sys_munmap(base + 100 * PAGE, PAGE), 0, "munmap in a block");
    CHECK_EQ(sys_mprotect(base + 200 * PAGE, PAGE, PROT_READ), 0, "mprotect in a block");
    CHECK_EQ(sys_madvise(base + 300 * PAGE, PAGE, MADV_DONTNEED), 0, "DONTNEED in a block");
    CHECK(unwritable(base + 100 * PAGE) && unwritable(base + 200 * PAGE), "pages 100 and 200 are not written");
    intact(base, 0, 100, 6, "words 0..100 that changed");
    intact(base, 101, 300, 6, "words 101..300 that changed");
    zero(base, 300, 301, "words of page 300 that are not 0");
    intact(base, 301, 512, 6, "words 301..512 that changed");
    CHECK(writable(base + 99 * PAGE) && writable(base + 201 * PAGE), "their neighbours are written");
    sys_munmap(region, 2 * BLOCK);
}

/* An instruction sequence written, made visible (Arm ARM B2.4.4), made executable and called: returns 42. */
static void execute(void)
{
    word page = must_map(PAGE), value;
    *(volatile uint64_t *)page = 0xd65f03c0d2800540;
    __asm__ volatile("dc cvau, %0\n dsb ish\n ic ivau, %0\n dsb ish\n isb" : : "r"(page) : "memory");
    CHECK_EQ(sys_mprotect(page, PAGE, PROT_READ | PROT_EXEC), 0, "mprotect READ EXEC");
    __asm__ volatile("blr %1\n mov %0, x0" : "=r"(value) : "r"(page) : "x0", "x30", "memory");
    CHECK_EQ(value, 42, "the value of written code");
    CHECK(unwritable(page), "code is not written");
    sys_munmap(page, PAGE);
}

static int die(const char *how)
{
    word page = must_map(3 * PAGE), middle = page + PAGE;
    store(page, 1), store(middle, 0xd65f03c0), store(middle + PAGE, 1);
    if (same(how, "write-readonly")) {
        sys_mprotect(middle, PAGE, PROT_READ);
        store(middle, 2);
    } else if (same(how, "read-none")) {
        sys_mprotect(middle, PAGE, PROT_NONE);
        load(middle);
    } else if (same(how, "touch-unmapped")) {
        sys_munmap(page, 3 * PAGE);
        load(middle);
    } else if (same(how, "touch-hole")) {
        sys_munmap(middle, PAGE);
        store(page, 2), store(middle + PAGE, 2);
        store(middle, 2);
    } else if (same(how, "touch-shrunk")) {
        word end = ROUND_UP(sys_brk(0), PAGE);
        sys_brk(end + PAGE);
        store(end, 1);
        sys_brk(end);
        store(end, 2);
    } else if (same(how, "execute-readonly")) {
        sys_mprotect(middle, PAGE, PROT_READ);
        __asm__ volatile("blr %0" : : "r"(middle) : "x30", "memory");
    }
    say("not ok - %s: the process survived", how);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return die(argv[1]);
    unmap_splits();
    protect();
    discard();
    replace();
    grow_and_shrink();
    block();
    execute();
    return finish();
}
