/*
 * faultparts: one fault of each kind again and again, warm, for whoever counts what the kernel executes meanwhile
 * (qemu/src/parts). Prints rows as mmbench does: the whole of a fault, by the virtual counter.
 *
 *     faultparts
 *
 * Each kind has a function of its own that makes the one access: the address at which the kernel was entered tells
 * the kind. Between `faultparts_begin` and `faultparts_end` is all that counts. What a row has beyond the fault is
 * `base`: the same on a page that is there.
 */
#include "process.h"

enum { PAGES = 64, HUGE = 16 };

static word counter(void)
{
    word ticks;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks)::"memory");
    return ticks;
}

static word ns(word ticks)
{
    word hz;
    __asm__("mrs %0, cntfrq_el0" : "=r"(hz));
    return ticks / hz * 1000000000 + ticks % hz * 1000000000 / hz;
}

#define MARK(name) \
    __attribute__((noinline, used)) static void name(void) \
    { \
        __asm__ volatile("nop"); \
    }

MARK(faultparts_begin)
MARK(faultparts_end)

#define KIND(name, instruction) \
    __attribute__((noinline, used)) static void name(word va) \
    { \
        __asm__ volatile(instruction : : "r"(va) : "memory"); \
    }

KIND(base, "strb w0, [%0]")
KIND(fault_4k_write, "strb w0, [%0]")
KIND(fault_4k_read_zeropage, "ldrb wzr, [%0]")
KIND(fault_thp_2m_write, "strb w0, [%0]")
KIND(cow_4k_child_first_write, "strb w0, [%0]")

static void row(const char *name, const char *suffix, word value)
{
    struct line line;
    line.used = 0;
    put_text(&line, name);
    put_text(&line, suffix);
    put_char(&line, ' ');
    put_number(&line, value, 10);
    put_text(&line, " ns");
    send(&line);
}

/* `count` accesses, `step` bytes apart. The first quarter warms up. */
static void series(const char *name, void (*access)(word), word va, word count, word step)
{
    word sum = 0, least = ~0ul, warm = count / 4;
    for (word n = 0; n < count; n++) {
        word before = counter();
        access(va + n * step);
        word took = counter() - before;
        if (n < warm)
            continue;
        sum += took;
        least = took < least ? took : least;
    }
    row(name, "", ns(sum) / (count - warm));
    row(name, ".min", ns(least));
}

/* Memory of small pages, or of huge ones. */
static word memory(word bytes, int advice)
{
    word va = ROUND_UP(must_map(bytes + BLOCK), BLOCK);
    CHECK_EQ(sys_madvise(va, bytes, advice), 0, "madvise");
    return va;
}

static void after_fork(void)
{
    word va = memory(BLOCK, MADV_NOHUGEPAGE);
    for (word n = 0; n < PAGES; n++)
        *(volatile char *)(va + n * PAGE) = 1;
    long child = fork();
    if (child == 0) {
        series("cow_4k_child_first_write", cow_4k_child_first_write, va, PAGES, PAGE);
        quit(0);
    }
    int status = -1;
    CHECK_EQ(wait4(child, &status, 0), child, "wait4");
    CHECK_EQ(status, 0, "the child's status");
}

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    word small = memory(BLOCK, MADV_NOHUGEPAGE), zeros = memory(BLOCK, MADV_NOHUGEPAGE);
    word huge = memory(HUGE * BLOCK, MADV_HUGEPAGE);

    faultparts_begin();
    series("fault_4k_write", fault_4k_write, small, PAGES, PAGE);
    series("base", base, small, PAGES, PAGE);
    series("fault_4k_read_zeropage", fault_4k_read_zeropage, zeros, PAGES, PAGE);
    series("fault_thp_2m_write", fault_thp_2m_write, huge, HUGE, BLOCK);
    after_fork();
    faultparts_end();
    return finish();
}
