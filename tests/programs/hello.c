/*
 * hello: what a process finds at entry. Prints its arguments, pid, program break and the clocks, and checks that they
 * make sense. Arguments: any. Ends by `exit`, not `exit_group`.
 */
#include "start.h"

static int zeroed[3000];
static int initialised = 42;

static word auxv(word type)
{
    for (const word *pair = auxv_start; pair[0] != AT_NULL; pair += 2)
        if (pair[0] == type)
            return pair[1];
    return 0;
}

static void check_entry(int argc, char **argv)
{
    say("argc %d", argc);
    for (int i = 0; i < argc; i++)
        say("argv[%d] \"%s\"", i, argv[i]);
    CHECK(argc >= 1 && !argv[argc], "argv has argc strings and then NULL");
    CHECK(entry_sp % 16 == 0, "sp is a multiple of 16 at entry: %#lx", entry_sp);
    CHECK_EQ(auxv(AT_PAGESZ), PAGE, "auxv AT_PAGESZ");
}

static void check_image(void)
{
    word wrong = 0;
    char bytes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t i = 0; i < sizeof zeroed / sizeof *zeroed; i++)
        wrong += zeroed[i] != 0;
    CHECK_EQ(wrong, 0, "words of .bss that are not 0");
    CHECK_EQ(initialised, 42, ".data");
    CHECK_EQ(load((word)bytes + 1), 0x0807060504030201, "an unaligned load");
}

static void check_identity(void)
{
    long pid = syscall(SYS_getpid);
    say("pid %ld", pid);
    CHECK(pid > 0, "pid is positive: %ld", pid);
    CHECK_EQ(syscall(SYS_gettid), pid, "gettid of the only thread is the pid");
    CHECK_EQ(syscall(SYS_sched_yield), 0, "sched_yield");
}

static void check_break(void)
{
    word start = sys_brk(0);
    say("brk %#lx", start);
    CHECK(start > (word)(zeroed + 1), "the break is above .bss: %#lx", start);
    CHECK_EQ(sys_brk(start + 100), start + 100, "grow the break by 100 bytes");
    store(ROUND_UP(start, 8), 7);
    CHECK_EQ(sys_brk(start), start, "shrink the break");
}

static void check_clocks(void)
{
    struct timespec wall = {-1, -1};
    word before = now(), after;
    CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_REALTIME, (word)&wall), 0, "clock_gettime CLOCK_REALTIME");
    CHECK(wall.sec >= 0 && wall.nsec >= 0 && wall.nsec < 1000000000, "wall clock %ld.%ld", wall.sec, wall.nsec);
    CHECK_EQ(sleep_ns(2000000), 0, "nanosleep 2 ms");
    after = now();
    say("slept %lu us", (after - before) / 1000);
    CHECK(after - before >= 2000000, "2 ms took only %lu ns", after - before);
}

int main(int argc, char **argv)
{
    check_entry(argc, argv);
    check_image();
    check_identity();
    check_break();
    check_clocks();
    syscall(SYS_exit, (word)finish());
    say("not ok - exit returned");
    return 1;
}
