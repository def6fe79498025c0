/*
 * toomuch: asks for more than there is. The process gets errors or is killed; the machine goes on.
 *
 *     toomuch              sizes that can never be: mmap and brk refuse them
 *     toomuch touch [mib=16384]   maps and touches memory, 16 MiB at a time, until an error, a kill or `mib`
 *     toomuch brk [mib=16384]     the same with brk
 *     toomuch many [limit=100000] maps single pages that cannot merge, until an error or `limit`; unmaps them
 *     toomuch split [limit=100000] splits one mapping with mprotect, until an error or `limit`
 *
 * Status: 0, or 137 (SIGKILL) where memory runs out at the touch.
 */
#include "start.h"

enum { MAX = 131072 };

static word mapped[MAX];

static void check_still_works(void)
{
    word page = must_map(PAGE);
    fill_page(page, 1);
    CHECK_EQ(wrong_words(page, PAGE, 1), 0, "words lost after running out");
    CHECK_EQ(sys_munmap(page, PAGE), 0, "munmap after running out");
}

static void impossible(void)
{
    word start = sys_brk(0);
    for (word bytes = 1ul << 48; bytes; bytes <<= 1)
        CHECK_EQ(sys_mmap(0, bytes, RW, ANON), -ENOMEM, "mmap of 2^48 bytes or more");
    CHECK_EQ(sys_mmap(0, (1ul << 48) - PAGE, RW, ANON), -ENOMEM, "mmap of all addresses");
    CHECK_EQ(sys_brk(1ul << 47), start, "brk to 2^47");
    for (word bytes = 1ul << 40; bytes < 1ul << 48; bytes <<= 1) {
        long va = sys_mmap(0, bytes, RW, ANON);
        say("mmap of %lu TiB: %s", bytes >> 40, va < 0 ? "refused" : "granted");
        CHECK(va > 0 || va == -ENOMEM, "mmap of %lu bytes: %ld", bytes, va);
        if (va > 0) {
            store((word)va, 1), store((word)va + bytes - 8, 2);
            CHECK(load((word)va) == 1 && load((word)va + bytes - 8) == 2, "both ends of %lu bytes at %#lx", bytes,
                  (word)va);
            CHECK_EQ(sys_munmap((word)va, bytes), 0, "munmap");
        }
    }
}

static void touch(word va, word bytes)
{
    for (word page = va; page < va + bytes; page += PAGE)
        store(page, page);
}

static void touch_all(word mib)
{
    for (word done = 0; done < mib; done += 16) {
        long va = sys_mmap(0, 16 << 20, RW, ANON);
        if (va < 0) {
            CHECK_EQ(va, -ENOMEM, "mmap of 16 MiB");
            say("mmap refused after %lu MiB", done);
            return;
        }
        touch((word)va, 16 << 20);
        if (done % 256 == 0)
            say("%lu MiB touched", done + 16);
    }
}

static void touch_break(word mib)
{
    word start = ROUND_UP(sys_brk(0), PAGE), end = start;
    for (word done = 0; done < mib; done += 16, end += 16 << 20) {
        if (sys_brk(end + (16 << 20)) != end + (16 << 20)) {
            say("brk refused after %lu MiB", done);
            break;
        }
        touch(end, 16 << 20);
        if (done % 256 == 0)
            say("%lu MiB touched", done + 16);
    }
    CHECK_EQ(sys_brk(start), start, "brk to its start");
}

static void many(word limit)
{
    word count = 0;
    long got = 0;
    while (count < limit && (got = sys_mmap(0, PAGE, count % 2 ? PROT_READ : RW, ANON)) > 0)
        mapped[count++] = (word)got;
    say("%lu mappings, then %ld", count, got > 0 ? 0 : got);
    CHECK(got > 0 || got == -ENOMEM, "the last mmap: %ld", got);
    for (word i = 0; i < count; i++)
        if (!CHECK_EQ(sys_munmap(mapped[i], PAGE), 0, "munmap of one of many"))
            break;
}

static void split(word limit)
{
    word bytes = limit * PAGE, base = must_map(bytes), count = 0;
    long got = 0;
    while (count < limit && (got = sys_mprotect(base + count * PAGE, PAGE, PROT_READ)) == 0)
        count += 2;
    say("%lu mappings, then %ld", count, got);
    CHECK(got == 0 || got == -ENOMEM, "the last mprotect: %ld", got);
    CHECK_EQ(sys_munmap(base, bytes), 0, "munmap of all of it");
    CHECK(unwritable(base) && unwritable(base + bytes - PAGE), "nothing is left at %#lx", base);
}

int main(int argc, char **argv)
{
    const char *how = mode(argc, argv, "impossible");
    word limit = option(argv, "limit", 100000), mib = option(argv, "mib", 16384);
    limit = limit < MAX ? limit : MAX;
    say("%s", how);
    if (same(how, "touch"))
        touch_all(mib);
    else if (same(how, "brk"))
        touch_break(mib);
    else if (same(how, "many"))
        many(limit);
    else if (same(how, "split"))
        split(limit);
    else if (same(how, "impossible"))
        impossible();
    else
        CHECK(0, "no mode `%s`", how);
    check_still_works();
    return finish();
}
