/*
 * fork: what clone(SIGCHLD), wait4 and getppid promise, and what parent and child see of each other's memory.
 *
 * usage: fork [MODE]
 *   (none)   values after a fork, exit status, errors of clone and wait4, orphans
 *   cow      copy-on-write of 4 KiB pages, of a huge page, of the stack and of data, to several depths
 *   bomb     children until there can be no more, which is EAGAIN or ENOMEM; then all of them are let go
 *   leave    ends with children that would stay for ever: the kernel ends them
 *   chain    each child forks the next one, and ends before it
 */
#include "start.h"
#include "process.h"

static word data_word = 1;
static char zeroed[3 * PAGE];

static void values(void)
{
    long parent = syscall(SYS_getpid), pid;
    int status = -1;
    volatile word local = 10;
    word page = must_map(PAGE);
    store(page, 100);
    pid = fork();
    if (pid == 0) {
        CHECK_EQ(syscall(SYS_getppid), parent, "the child's getppid");
        CHECK(syscall(SYS_getpid) != parent, "the child has its parent's number");
        CHECK_EQ(local + data_word + load(page), 111, "what the child finds");
        local = 20, data_word = 2, store(page, 200), zeroed[PAGE] = 1;
        CHECK_EQ(local + data_word + load(page) + (word)zeroed[PAGE], 223, "what the child wrote");
        quit(failures ? 99 : 42);
    }
    CHECK(pid > 0, "fork: %ld", pid);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4 for the child");
    CHECK_EQ(status, 42 << 8, "its status word");
    CHECK_EQ(local + data_word + load(page) + (word)zeroed[PAGE], 111, "what the parent finds");
    sys_munmap(page, PAGE);
}

static void own_stack(void)
{
    word stack = must_map(4 * PAGE);
    int status = -1;
    long pid = fork_on(stack + 4 * PAGE);
    CHECK(pid > 0, "clone with a stack: %ld", pid);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4 for it");
    CHECK_EQ(status, 7 << 8, "the status of a child on a stack of its own");
    CHECK_EQ(load(stack + 4 * PAGE - 16), 0, "the parent's copy of that stack");
    sys_munmap(stack, 4 * PAGE);
}

static void statuses(void)
{
    static const struct { int how, status; } ENDS[] = {{0, 0}, {1, 1 << 8}, {255, 255 << 8}, {256, 0}, {-1, 11}};
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
        int status = -1;
        long pid = fork();
        if (pid == 0) {
            if (ENDS[i].how < 0)
                store(0, 1);
            quit(ENDS[i].how);
        }
        CHECK_EQ(wait4(-1, &status, 0), pid, "wait4(-1)");
        CHECK_EQ(status, ENDS[i].status, "the status word");
    }
}

static void errors(void)
{
    int status = 77;
    CHECK_EQ(wait4(-1, &status, 0), -ECHILD, "wait4(-1) without children");
    CHECK_EQ(wait4(-1, &status, WNOHANG), -ECHILD, "wait4(-1, WNOHANG) without children");
    CHECK_EQ(wait4(syscall(SYS_getpid), &status, 0), -ECHILD, "wait4 for itself");
    CHECK_EQ(wait4(1 << 21, &status, 0), -ECHILD, "wait4 for nobody");
    CHECK_EQ(wait4(-(1 << 21), &status, 0), -ECHILD, "wait4 for no group");
    CHECK_EQ(wait4(-0x7fffffff - 1, &status, 0), -ESRCH, "wait4 for INT_MIN");
    CHECK_EQ(wait4(-1, &status, 4), -EINVAL, "wait4 with an unknown option");
    CHECK_EQ(status, 77, "the status word, which nobody may have written");
    CHECK_EQ(syscall(SYS_clone, 0x100 | 17, 0), -EINVAL, "clone with CLONE_VM");
    CHECK_EQ(syscall(SYS_clone, 0, 0), -EINVAL, "clone without SIGCHLD");
    int gate[2];
    CHECK_EQ(syscall(SYS_pipe2, (word)gate, 0), 0, "pipe2");
    long pid = fork();
    if (pid == 0) {
        char c;
        syscall(SYS_close, (word)gate[1]);
        quit(syscall(SYS_read, (word)gate[0], (word)&c, 1));
    }
    CHECK_EQ(wait4(-1, &status, WNOHANG), 0, "wait4(WNOHANG) while the child lives");
    CHECK_EQ(wait4(pid, &status, WNOHANG), 0, "wait4(pid, WNOHANG) while the child lives");
    syscall(SYS_close, (word)gate[0]), syscall(SYS_close, (word)gate[1]);
    CHECK_EQ(syscall(SYS_wait4, (word)pid, 8, 0, 0), -EFAULT, "wait4 with a bad status pointer");
    CHECK_EQ(wait4(pid, &status, 0), -ECHILD, "and the child is gone");
    pid = fork();
    if (pid == 0)
        quit(3);
    CHECK_EQ(syscall(SYS_wait4, (word)pid, 0, 0, 0), pid, "wait4 without a status pointer");
}

/* A child that ends before its own child does: the grandchild's parent is the first of the family. */
static void orphans(void)
{
    long first = syscall(SYS_getpid), ended;
    int up[2], status = -1;
    CHECK_EQ(syscall(SYS_pipe2, (word)up, 0), 0, "pipe2");
    long pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            while (syscall(SYS_getppid) != first)
                yield();
            syscall(SYS_write, (word)up[1], (word) "x", 1);
            quit(5);
        }
        quit(4);
    }
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4 for the child");
    CHECK_EQ(status, 4 << 8, "its status");
    char c = 0;
    CHECK_EQ(syscall(SYS_read, (word)up[0], (word)&c, 1), 1, "the grandchild's word");
    ended = wait4(-1, &status, 0);
    CHECK(ended > 0 && ended != pid, "wait4 for the grandchild: %ld", ended);
    CHECK_EQ(status, 5 << 8, "its status");
    syscall(SYS_close, (word)up[0]), syscall(SYS_close, (word)up[1]);
}

/* Parent and child write all pages after a fork, in turn; a grandchild sees what its parent had. */
static void cow_range(word at, word pages, const char *what)
{
    int status = -1;
    for (word p = 0; p < pages; p++)
        fill_page(at + p * PAGE, 1);
    long pid = fork();
    if (pid == 0) {
        word wrong = 0;
        for (word p = 0; p < pages; p += 2)
            wrong += wrong_words(at + p * PAGE, PAGE, 1), fill_page(at + p * PAGE, 2);
        long grand = fork();
        if (grand == 0) {
            for (word p = 0; p < pages; p++)
                wrong += wrong_words(at + p * PAGE, PAGE, p % 2 ? 1 : 2), fill_page(at + p * PAGE, 3);
            for (word p = 0; p < pages; p++)
                wrong += wrong_words(at + p * PAGE, PAGE, 3);
            quit(wrong != 0);
        }
        wrong += wait4(grand, &status, 0) != grand || status != 0;
        for (word p = 0; p < pages; p++)
            wrong += wrong_words(at + p * PAGE, PAGE, p % 2 ? 1 : 2);
        quit(wrong != 0);
    }
    word wrong = 0;
    for (word p = 0; p < pages; p += 3)
        fill_page(at + p * PAGE, 4);
    CHECK_EQ(wait4(pid, &status, 0), pid, "wait4");
    CHECK(status == 0, "%s: what the children saw: status %#x", what, (unsigned)status);
    for (word p = 0; p < pages; p++)
        wrong += wrong_words(at + p * PAGE, PAGE, p % 3 ? 1 : 4);
    CHECK(wrong == 0, "%s: %lu words of the parent are wrong", what, wrong);
    for (word p = 0; p < pages; p++)
        fill_page(at + p * PAGE, 5);
    for (word p = 0; p < pages; p++)
        wrong += wrong_words(at + p * PAGE, PAGE, 5);
    CHECK(wrong == 0, "%s: %lu words are wrong after the children's end", what, wrong);
}

static void cow(void)
{
    word small = must_map(8 * PAGE);
    sys_madvise(small, 8 * PAGE, MADV_NOHUGEPAGE);
    cow_range(small, 8, "4 KiB pages");
    sys_munmap(small, 8 * PAGE);
    word span = must_map(2 * BLOCK), block = ROUND_UP(span, BLOCK);
    sys_madvise(span, 2 * BLOCK, MADV_HUGEPAGE);
    cow_range(block, BLOCK / PAGE, "a block");
    sys_munmap(span, 2 * BLOCK);
    word part = must_map(2 * BLOCK);
    cow_range(ROUND_UP(part, BLOCK), 5, "a part of a block");
    sys_munmap(part, 2 * BLOCK);
    cow_range(ROUND_UP((word)zeroed, PAGE), 2, "data");
    char stack[4 * PAGE];
    cow_range(ROUND_UP((word)stack, PAGE), 3, "the stack");
}

static void bomb(word limit)
{
    int hold[2], status;
    long pid = 0, children = 0, ended = 0, bad = 0;
    CHECK_EQ(syscall(SYS_pipe2, (word)hold, 0), 0, "pipe2");
    while ((word)children < limit) {
        pid = fork();
        if (pid == 0) {
            char c;
            syscall(SYS_close, (word)hold[1]);
            quit(syscall(SYS_read, (word)hold[0], (word)&c, 1));
        }
        if (pid < 0)
            break;
        children++;
    }
    say("%ld children, then fork gave %ld", children, pid);
    CHECK((word)children == limit || pid == -EAGAIN || pid == -ENOMEM, "fork gave %ld", pid);
    syscall(SYS_close, (word)hold[1]);
    while (wait4(-1, &status, 0) > 0)
        ended++, bad += status != 0;
    CHECK_EQ(ended, children, "children that ended");
    CHECK_EQ(bad, 0, "children with a bad status");
    pid = fork();
    if (pid == 0)
        quit(0);
    CHECK_EQ(wait4(pid, &status, 0), pid, "a child after all that");
}

static void chain(word length)
{
    int up[2];
    char c = 0;
    CHECK_EQ(syscall(SYS_pipe2, (word)up, 0), 0, "pipe2");
    for (word n = 0; n < length; n++) {
        long pid = fork();
        if (pid > 0 && n > 0)
            quit(0);
        if (pid > 0) {
            syscall(SYS_close, (word)up[1]);
            CHECK_EQ(syscall(SYS_read, (word)up[0], (word)&c, 1), 1, "the last one's word");
            long ended = 0;
            while (wait4(-1, 0, 0) > 0)
                ended++;
            CHECK_EQ(ended, length, "links of the chain that the first has waited for");
            return;
        }
        if (pid < 0)
            quit(9);
    }
    syscall(SYS_write, (word)up[1], (word) "x", 1);
    quit(0);
}

static void leave(void)
{
    for (int i = 0; i < 6; i++)
        if (fork() == 0) {
            if (i % 3 == 0)
                fork();
            for (;;)
                i % 2 ? sleep_ns(1000000000000) : 0;
        }
    sleep_ns(20000000);
}

int main(int argc, char **argv)
{
    const char *m = mode(argc, argv, "values");
    if (same(m, "cow")) {
        cow();
    } else if (same(m, "bomb")) {
        bomb(option(argv, "limit", 1000000));
    } else if (same(m, "chain")) {
        chain(option(argv, "length", 20));
    } else if (same(m, "leave")) {
        leave();
    } else {
        values();
        own_stack();
        statuses();
        errors();
        orphans();
    }
    return finish();
}
