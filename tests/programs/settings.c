/*
 * settings: a file of the kernel with a number: what is out of range is refused and changes nothing, the limits are taken.
 *
 * usage: settings PATH LOW HIGH
 */
#include "start.h"
#include "process.h"

static const char *path;
static long both, reads, writes;

static word length_of(const char *text)
{
    word n = 0;
    while (text[n])
        n++;
    return n;
}

/* What the file says, without the end of the line. */
static const char *said(char text[64])
{
    long got = syscall(SYS_pread64, (word)both, (word)text, 63, 0);
    text[got > 0 ? got - 1 : 0] = 0;
    return text;
}

static long put(long fd, const char *value)
{
    return syscall(SYS_write, (word)fd, (word)value, length_of(value));
}

static const char *decimal(struct line *line, word value)
{
    line->used = 0;
    put_number(line, value, 10);
    put_char(line, 0);
    return line->text;
}

static word number_of(const char *text)
{
    word value = 0;
    while (*text)
        value = 10 * value + (word)(*text++ - '0');
    return value;
}

static void refused(const char *value)
{
    char before[64], after[64];
    said(before);
    CHECK(put(both, value) == -EINVAL, "%s = `%s` is not -EINVAL", path, value);
    CHECK(put(writes, value) == -EINVAL, "%s = `%s`, open for writing, is not -EINVAL", path, value);
    CHECK(same(said(after), before), "%s = `%s` made %s of %s", path, value, after, before);
}

static void taken(const char *value)
{
    char now[64];
    CHECK_EQ(put(both, value), (long)length_of(value), "a value that is permitted");
    CHECK(same(said(now), value), "%s = %s, and says %s", path, value, now);
}

int main(int argc, char **argv)
{
    static const char *const wrong[] = {"-1", "-", " ", "\n", "1.5", "0x10", "many", "1 2", "18446744073709551616"};
    static char whole[4096];
    char before[64];
    struct line line;
    if (argc != 4)
        quit(99);
    path = argv[1];
    word low = number_of(argv[2]), high = number_of(argv[3]);
    reads = syscall(SYS_openat, (word)AT_FDCWD, (word)path, 0);
    writes = syscall(SYS_openat, (word)AT_FDCWD, (word)path, 1);
    both = syscall(SYS_openat, (word)AT_FDCWD, (word)path, 2);
    CHECK(reads > 2 && writes > 2 && both > 2, "openat of %s: %ld %ld %ld", path, reads, writes, both);
    CHECK_EQ(syscall(SYS_write, (word)reads, (word) "1", 1), -EBADF, "write to what is open for reading");
    CHECK_EQ(syscall(SYS_read, (word)writes, (word)before, 1), -EBADF, "read of what is open for writing");
    CHECK_EQ(syscall(SYS_pread64, (word)writes, (word)before, 1, 0), -EBADF, "pread64 of what is open for writing");
    said(before);
    for (word n = 0; n < sizeof wrong / sizeof *wrong; n++)
        refused(wrong[n]);
    if (low > 0)
        refused(decimal(&line, low - 1));
    refused(decimal(&line, high + 1));
    CHECK_EQ(put(both, ""), 0, "a write of nothing");
    CHECK_EQ(syscall(SYS_write, (word)both, 8, 1), -EFAULT, "a write from nowhere");
    for (word n = 0; n < sizeof whole; n++)
        whole[n] = '1';
    CHECK_EQ(syscall(SYS_write, (word)both, (word)whole, sizeof whole), -EINVAL, "a value of a page");
    taken(decimal(&line, low));
    taken(decimal(&line, high));
    taken(before);
    return finish();
}
