/*
 * fp: keeps values in all 32 SIMD registers, FPCR and FPSR over page faults, which zero and copy pages, preemption,
 * sched_yield and nanosleep, and checks them, also in children that copy what they write. Run two at once, with different names, on one CPU: each would see the other's registers if they were not kept.
 * Only its assembly uses them, so it is built with -mgeneral-regs-only like the others.
 *
 *     fp [name=1] [ms=200]
 */
#include "start.h"
#include "process.h"

#define ALL_SIMD \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", \
    "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31"

enum { FPCR_ROUNDING = 22, FPSR_QC = 1 << 27 };

struct file {
    word v[64], control, status;
};

/*
 * One system call, or a long loop without any, and a store to the page, while the registers hold `in`; then they are stored
 * to `out`.
 */
static void keep(const struct file *in, struct file *out, long number, word spins, word page)
{
    static const struct timespec nap = {0, 500000};
    word loaded = (word)in, stored = (word)out;
    __asm__ volatile(
        "    mov x9, %0\n"
        "    ld1 {v0.2d-v3.2d}, [x9], #64\n   ld1 {v4.2d-v7.2d}, [x9], #64\n"
        "    ld1 {v8.2d-v11.2d}, [x9], #64\n  ld1 {v12.2d-v15.2d}, [x9], #64\n"
        "    ld1 {v16.2d-v19.2d}, [x9], #64\n ld1 {v20.2d-v23.2d}, [x9], #64\n"
        "    ld1 {v24.2d-v27.2d}, [x9], #64\n ld1 {v28.2d-v31.2d}, [x9], #64\n"
        "    ldp x10, x11, [x9]\n"
        "    msr fpcr, x10\n"
        "    msr fpsr, x11\n"
        "    mov x8, %2\n"
        "    mov x9, %3\n"
        "1:  subs x9, x9, #1\n"
        "    b.ne 1b\n"
        "    str x9, [%5]\n"
        "    cbz x8, 2f\n"
        "    mov x0, %4\n"
        "    mov x1, xzr\n"
        "    svc #0\n"
        "2:  mov x9, %1\n"
        "    st1 {v0.2d-v3.2d}, [x9], #64\n   st1 {v4.2d-v7.2d}, [x9], #64\n"
        "    st1 {v8.2d-v11.2d}, [x9], #64\n  st1 {v12.2d-v15.2d}, [x9], #64\n"
        "    st1 {v16.2d-v19.2d}, [x9], #64\n st1 {v20.2d-v23.2d}, [x9], #64\n"
        "    st1 {v24.2d-v27.2d}, [x9], #64\n st1 {v28.2d-v31.2d}, [x9], #64\n"
        "    mrs x10, fpcr\n"
        "    mrs x11, fpsr\n"
        "    stp x10, x11, [x9]\n"
        "    msr fpcr, xzr\n"
        : : "r"(loaded), "r"(stored), "r"(number), "r"(spins), "r"(&nap), "r"(page)
        : "x0", "x1", "x8", "x9", "x10", "x11", "cc", "memory", ALL_SIMD);
}

static void check_fresh(void)
{
    word control, status;
    __asm__ volatile("mrs %0, fpcr\n mrs %1, fpsr" : "=r"(control), "=r"(status));
    CHECK_EQ(control, 0, "FPCR of a new process");
    CHECK_EQ(status, 0, "FPSR of a new process");
}

static void compare(const struct file *in, const struct file *out, word round)
{
    for (int i = 0; i < 64; i++)
        CHECK(in->v[i] == out->v[i], "round %lu: v%d.d[%d] is %#lx, was %#lx", round, i / 2, i % 2,
              out->v[i], in->v[i]);
    CHECK_EQ(out->control, in->control, "FPCR");
    CHECK_EQ(out->status, in->status, "FPSR");
}

/* Pages that are zeroed, then pages that are copied, with the registers full. */
static void fault(const struct file *in, struct file *out, word region, word round)
{
    int status = -1;
    sys_madvise(region, BLOCK, round % 2 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (word page = 0; page < 3; page++) {
        keep(in, out, 0, 1, region + page * PAGE);
        compare(in, out, round);
    }
    long pid = fork();
    for (word page = 0; page < 3; page++) {
        keep(in, out, 0, 1, region + page * PAGE);
        compare(in, out, round);
    }
    if (pid == 0)
        quit(failures);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "the child's status");
    sys_madvise(region, BLOCK, MADV_DONTNEED);
}

int main(int argc, char **argv)
{
    static struct file in, out;
    word name = option(argv, "name", 1), ms = option(argv, "ms", 200), rounds = 0, last = now(), longest = 0;
    (void)argc;

    check_fresh();
    for (int i = 0; i < 64; i++)
        in.v[i] = name << 32 | (word)i * 0x01010101;
    in.control = name % 4 << FPCR_ROUNDING;
    in.status = name % 2 ? FPSR_QC : 0;
    word region = ROUND_UP(must_map(3 * BLOCK), BLOCK), spare = must_map(PAGE);
    for (word end = last + ms * 1000000; last < end && failures < 99; rounds++) {
        keep(&in, &out, rounds % 3 == 1 ? SYS_sched_yield : rounds % 3 == 2 ? SYS_nanosleep : 0, 200000, spare);
        compare(&in, &out, rounds);
        fault(&in, &out, region, rounds);
        word time = now();
        longest = time - last > longest ? time - last : longest;
        last = time;
    }
    say("%lu: %lu rounds, the longest took %lu us", name, rounds, longest / 1000);
    return finish();
}
