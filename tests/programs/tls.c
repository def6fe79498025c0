/*
 * tls: keeps a value in TPIDR_EL0 over preemption, sched_yield, nanosleep, page faults and fork, and checks it. Run two at
 * once, with different names: each would see the other's value if it were not each thread's own.
 *
 *     tls [name=1] [ms=200]
 */
#include "start.h"
#include "process.h"

static word get(void)
{
    word value;
    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(value));
    return value;
}

static void set(word value)
{
    __asm__ volatile("msr tpidr_el0, %0" : : "r"(value));
}

/* Keeps the value until `end`. */
static void keep(word value, word end)
{
    word page = must_map(PAGE);
    set(value);
    for (word round = 0; now() < end && failures < 99; round++) {
        if (round % 3 == 0)
            yield();
        else if (round % 3 == 1)
            sleep_ns(200000);
        else
            for (word spin = 0; spin < 100000; spin++)
                __asm__ volatile("");
        store(page, round);
        sys_madvise(page, PAGE, MADV_DONTNEED);
        CHECK_EQ(get(), value, "TPIDR_EL0");
        set(value += 8);
    }
    sys_munmap(page, PAGE);
}

int main(int argc, char **argv)
{
    word name = option(argv, "name", 1), end = now() + option(argv, "ms", 200) * 1000000;
    int status = -1;
    (void)argc;
    CHECK_EQ(get(), 0, "TPIDR_EL0 of a new process");
    set(name << 32);
    long pid = fork();
    if (pid == 0) {
        CHECK_EQ(get(), name << 32, "the child has its parent's");
        keep(name << 32 | 1ul << 24, end);
        quit(failures);
    }
    keep(name << 32, end);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "the child's status");
    return finish();
}
