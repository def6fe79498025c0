/*
 * dma: a device that reads and writes this process's memory later, while that is forked, protected, unmapped.
 *
 * Without /dev/quire-dma, as on Linux, it says so and has nothing to check.
 */
#include "start.h"
#include "process.h"

enum { FILL = 1, SUM, STEP, RESET, O_RDWR = 2, ENODATA = 61 };

static long device;

static long command(word what, word va, word bytes, word value)
{
    word words[4] = {what, va, bytes, value};
    return syscall(SYS_write, (word)device, (word)words, sizeof words);
}

static word result(void)
{
    word value = 0;
    CHECK_EQ(syscall(SYS_read, (word)device, (word)&value, sizeof value), 8, "read of the device");
    return value;
}

static void step(void)
{
    CHECK_EQ(command(STEP, 0, 0, 0), 32, "the transfer");
}

static void across_fork(void)
{
    word page = must_map(2 * PAGE);
    store(page, 1), store(page + PAGE, 2);
    CHECK_EQ(command(FILL, page, PAGE, 0x55), 32, "a fill");
    CHECK_EQ(command(SUM, page + PAGE, 8, 0), 32, "a sum");
    long pid = fork();
    int status = -1;
    if (pid == 0) {
        CHECK_EQ(load(page), 1, "the child has what was there");
        store(page, 3), store(page + PAGE, 4);
        quit(failures);
    }
    store(page + PAGE, 7);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "the child's status");
    step();
    CHECK_EQ(load(page), 0x55, "what the device wrote");
    CHECK_EQ(result(), 512 * 0x55, "its sum");
    step();
    CHECK_EQ(result(), 7, "what the device read");
    sys_munmap(page, 2 * PAGE);
}

static void after_a_fork(void)
{
    word page = must_map(PAGE);
    store(page, 1);
    long pid = fork();
    int status = -1;
    if (pid == 0) {
        for (int n = 0; n < 3 && load(page) == 1; n++)
            sleep_ns(1000000);
        quit(load(page) != 1);
    }
    CHECK_EQ(command(FILL, page, 8, 0x66), 32, "a fill of a page that a child shares");
    store(page, 2);
    step();
    CHECK_EQ(load(page), 0x66, "what the device wrote");
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK_EQ(status, 0, "the child has its own");
    sys_munmap(page, PAGE);
}

static void across_the_rest(void)
{
    word block = ROUND_UP(must_map(2 * BLOCK), BLOCK);
    for (word va = block; va < block + BLOCK; va += PAGE)
        store(va, va);
    word page = block + 7 * PAGE;
    CHECK_EQ(command(FILL, page, 16, 0x77), 32, "a fill inside of a block");
    CHECK_EQ(sys_mprotect(block, BLOCK / 2, PROT_READ), 0, "mprotect");
    CHECK_EQ(sys_mprotect(block, BLOCK / 2, RW), 0, "mprotect");
    store(page, 1);
    CHECK_EQ(sys_munmap(block + 8 * PAGE, PAGE), 0, "munmap of the next page");
    sleep_ns(2000000);
    step();
    CHECK_EQ(load(page), 0x77, "what the device wrote");
    CHECK_EQ(load(page + 8), 0x77, "what the device wrote next to it");
    CHECK_EQ(command(SUM, page, 8, 0), 32, "a sum");
    CHECK_EQ(sys_munmap(page, PAGE), 0, "munmap of a pinned page");
    step();
    CHECK_EQ(result(), 0x77, "what was unmapped");
}

static void errors(void)
{
    word page = must_map(2 * PAGE);
    CHECK_EQ(command(STEP, 0, 0, 0), -ENODATA, "nothing to do");
    CHECK_EQ(command(9, page, 8, 0), -EINVAL, "no command");
    CHECK_EQ(command(SUM, page + 4, 8, 0), -EINVAL, "an odd address");
    CHECK_EQ(command(SUM, page, 0, 0), -EINVAL, "nothing");
    CHECK_EQ(command(SUM, 0, 8, 0), -EFAULT, "nothing is mapped there");
    CHECK_EQ(command(SUM, -PAGE, 8, 0), -EFAULT, "the kernel's half");
    sys_mprotect(page, PAGE, PROT_READ);
    CHECK_EQ(command(FILL, page, 8, 0), -EFAULT, "memory that cannot be written");
    CHECK_EQ(command(SUM, page, 2 * PAGE, 0), 32, "memory that can be read");
    CHECK_EQ(command(RESET, 0, 0, 0), 32, "giving up");
    CHECK_EQ(command(STEP, 0, 0, 0), -ENODATA, "nothing is left");
    /* What is queued at the end is unpinned by the end. */
    CHECK_EQ(command(SUM, page, 8, 0), 32, "a sum for nobody");
}

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    device = syscall(SYS_openat, (word)AT_FDCWD, (word) "/dev/quire-dma", O_RDWR);
    if (device == -ENOENT) {
        say("there is no such device here");
        return 0;
    }
    CHECK(device > 2, "open: %ld", device);
    across_fork();
    after_a_fork();
    across_the_rest();
    errors();
    return finish();
}
