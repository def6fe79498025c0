/*
 * What a user program of Quire stands on: entry, system calls, lines of text, checks. No C library.
 *
 * A program includes this file once and defines `main`. The stack at entry is that of Linux: argc, argv, envp and
 * auxv from sp upwards. All system calls have Linux's arm64 numbers and return a value, or -errno.
 *
 * Each line of output is one `write` to fd 1, so that the lines of concurrent processes do not mix. Two kinds of line:
 *
 *     <program>: <text>            for the reader; `<program>: not ok - ...` is a failed check
 *     @stop <name> 0x<address>     for the kernel, which may examine this process inside that very system call
 *
 * The exit status is the number of failed checks, at most 99. Death by signal n is 128 + n, as a shell counts.
 */
#ifndef START_H
#define START_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t word;

enum { SYS_write = 64, SYS_exit = 93, SYS_exit_group = 94, SYS_nanosleep = 101, SYS_clock_gettime = 113,
       SYS_sched_yield = 124, SYS_getpid = 172, SYS_gettid = 178, SYS_brk = 214, SYS_munmap = 215,
       SYS_mmap = 222, SYS_mprotect = 226, SYS_mincore = 232, SYS_madvise = 233 };
enum { EPERM = 1, EBADF = 9, ENOMEM = 12, EFAULT = 14, EEXIST = 17, EINVAL = 22, ENOSYS = 38 };
enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, RW = PROT_READ | PROT_WRITE };
enum { MAP_PRIVATE = 0x02, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20, MAP_HUGETLB = 0x40000,
       MAP_FIXED_NOREPLACE = 0x100000, MAP_HUGE_SHIFT = 26, ANON = MAP_PRIVATE | MAP_ANONYMOUS };
enum { MADV_NORMAL = 0, MADV_RANDOM = 1, MADV_SEQUENTIAL = 2, MADV_WILLNEED = 3, MADV_DONTNEED = 4,
       MADV_HUGEPAGE = 14, MADV_NOHUGEPAGE = 15, MADV_COLD = 20, MADV_PAGEOUT = 21,
       MADV_COLLAPSE = 25 };
enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1 };
enum { AT_NULL = 0, AT_PAGESZ = 6 };

#define PAGE 4096ul
#define BLOCK (2ul << 20)
#define ROUND_UP(value, unit) (((value) + (unit) - 1) & ~((unit) - 1))

struct timespec {
    int64_t sec, nsec;
};

/* ---- system calls ---- */

static inline long syscall6(long number, const word a[6])
{
    register word x8 __asm__("x8") = (word)number;
    register word x0 __asm__("x0") = a[0];
    register word x1 __asm__("x1") = a[1];
    register word x2 __asm__("x2") = a[2];
    register word x3 __asm__("x3") = a[3];
    register word x4 __asm__("x4") = a[4];
    register word x5 __asm__("x5") = a[5];
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return (long)x0;
}

/* syscall(number, up to six words); the words that are not given are 0. */
#define syscall(number, ...) syscall6((number), (const word[6]){__VA_ARGS__})

static inline long sys_mmap(word va, word bytes, int prot, int flags)
{
    return syscall(SYS_mmap, va, bytes, (word)prot, (word)flags, (word)-1, 0);
}

static inline long sys_munmap(word va, word bytes)
{
    return syscall(SYS_munmap, va, bytes);
}

static inline long sys_mprotect(word va, word bytes, int prot)
{
    return syscall(SYS_mprotect, va, bytes, (word)prot);
}

static inline long sys_madvise(word va, word bytes, int advice)
{
    return syscall(SYS_madvise, va, bytes, (word)advice);
}

static inline word sys_brk(word end)
{
    return (word)syscall(SYS_brk, end);
}

static inline void yield(void)
{
    syscall(SYS_sched_yield);
}

static inline _Noreturn void quit(long status)
{
    for (;;)
        syscall(SYS_exit_group, (word)status);
}

/* Nanoseconds of CLOCK_MONOTONIC. */
static inline word now(void)
{
    struct timespec time = {0, 0};
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (word)&time);
    return (word)time.sec * 1000000000 + (word)time.nsec;
}

static inline long sleep_ns(word ns)
{
    struct timespec time = {(int64_t)(ns / 1000000000), (int64_t)(ns % 1000000000)};
    return syscall(SYS_nanosleep, (word)&time, 0);
}

/* ---- text ---- */

struct line {
    char text[240];
    size_t used;
};

static const char *program = "?";
static unsigned long checks, failures;
static const word *auxv_start;
static word entry_sp;

static inline void put_char(struct line *line, char c)
{
    if (line->used < sizeof line->text)
        line->text[line->used++] = c;
}

static inline void put_text(struct line *line, const char *text)
{
    while (*text)
        put_char(line, *text++);
}

static inline void put_number(struct line *line, word value, unsigned base)
{
    char digits[20];
    int n = 0;
    do
        digits[n++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (n)
        put_char(line, digits[--n]);
}

/* Conversions: %s %d %u %x, with `l` before d, u, x and `#` before x. */
static inline void put_format(struct line *line, const char *format, va_list args)
{
    for (; *format; format++) {
        if (*format != '%') {
            put_char(line, *format);
            continue;
        }
        format++;
        if (*format == '#') {
            put_text(line, "0x");
            format++;
        }
        int is_long = *format == 'l';
        format += is_long;
        if (*format == 's') {
            put_text(line, va_arg(args, const char *));
        } else if (*format == 'd') {
            long value = is_long ? va_arg(args, long) : va_arg(args, int);
            if (value < 0)
                put_char(line, '-');
            put_number(line, value < 0 ? 0 - (word)value : (word)value, 10);
        } else {
            word value = is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned);
            put_number(line, value, *format == 'x' ? 16 : 10);
        }
    }
}

static inline void send(struct line *line)
{
    if (line->used == sizeof line->text)
        line->used--;
    put_char(line, '\n');
    syscall(SYS_write, 1, (word)line->text, line->used);
}

__attribute__((format(printf, 2, 3))) static inline void print(const char *before, const char *format, ...)
{
    struct line line;
    va_list args;
    line.used = 0;
    put_text(&line, program);
    put_text(&line, ": ");
    put_text(&line, before);
    va_start(args, format);
    put_format(&line, format, args);
    va_end(args);
    send(&line);
}

/* Prints `<program>: <text>` and a newline. */
#define say(...) print("", __VA_ARGS__)

/* Writes the line at which the kernel may stop and examine this process. */
static inline void stop(const char *name, word va)
{
    struct line line;
    line.used = 0;
    put_text(&line, "@stop ");
    put_text(&line, name);
    put_text(&line, " 0x");
    put_number(&line, va, 16);
    send(&line);
}

/* ---- checks ---- */

/* CHECK(condition, "what should hold, with %lu values", values...) */
#define CHECK(condition, ...) \
    do { \
        checks++; \
        if (!(condition)) { \
            failures++; \
            print("not ok - ", __VA_ARGS__); \
        } \
    } while (0)

#define CHECK_EQ(got, want, what) check_eq((long)(got), (long)(want), (what), __LINE__)

static inline int check_eq(long got, long want, const char *what, int line)
{
    checks++;
    if (got == want)
        return 1;
    failures++;
    say("not ok - %s: got %ld (%#lx), want %ld (%#lx), line %d", what, got, (word)got, want, (word)want, line);
    return 0;
}

/* Maps private anonymous memory; the program ends here when there is none. */
static inline word must_map(word bytes)
{
    long va = sys_mmap(0, bytes, RW, ANON);
    if (va < 0) {
        say("not ok - mmap of %lu bytes: %ld", bytes, va);
        quit(99);
    }
    return (word)va;
}

/* Prints the closing line; its value is the exit status. */
static inline int finish(void)
{
    say("%lu checks, %lu failed", checks, failures);
    return failures > 99 ? 99 : (int)failures;
}

/* ---- arguments ---- */

static inline int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* Decimal, or hexadecimal after 0x. */
static inline word number(const char *text)
{
    unsigned base = text[0] == '0' && text[1] == 'x' ? 16 : 10;
    word value = 0;
    for (text += base == 16 ? 2 : 0; *text; text++)
        value = value * base + (word)(*text <= '9' ? *text - '0' : (*text | 32) - 'a' + 10);
    return value;
}

/* The value of the argument `name=value`, or `otherwise`. */
static inline word option(char **argv, const char *name, word otherwise)
{
    for (char **arg = argv + 1; *arg; arg++) {
        const char *a = *arg, *n = name;
        while (*n && *a == *n)
            a++, n++;
        if (!*n && *a == '=')
            return number(a + 1);
    }
    return otherwise;
}

static inline const char *mode(int argc, char **argv, const char *otherwise)
{
    return argc > 1 ? argv[1] : otherwise;
}

/* ---- memory contents ---- */

static inline word load(word va)
{
    return *(volatile word *)va;
}

static inline void store(word va, word value)
{
    *(volatile word *)va = value;
}

/* What the word at `va` holds after `fill_page` with this seed: never 0, different for each word. */
static inline word pattern(word va, word seed)
{
    return ((va + (seed << 48)) * 0x9e3779b97f4a7c15) | 1;
}

static inline void fill_page(word page, word seed)
{
    for (word va = page; va < page + PAGE; va += 8)
        store(va, pattern(va, seed));
}

/* How many words of [va, va + bytes) differ from the pattern. */
static inline word wrong_words(word va, word bytes, word seed)
{
    word wrong = 0;
    for (word end = va + bytes; va < end; va += 8)
        wrong += load(va) != pattern(va, seed);
    return wrong;
}

static inline word nonzero_words(word va, word bytes)
{
    word wrong = 0;
    for (word end = va + bytes; va < end; va += 8)
        wrong += load(va) != 0;
    return wrong;
}

/* The kernel cannot write here for us: unmapped, or not writable. If it can, the first two words are lost. */
static inline int unwritable(word va)
{
    return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, va) == -EFAULT;
}

/* The kernel can write here for us. Reads the first two words and puts them back. */
static inline int writable(word va)
{
    word first = load(va), second = load(va + 8);
    if (unwritable(va))
        return 0;
    store(va, first), store(va + 8, second);
    return 1;
}

/* xorshift64*; the state must not be 0. */
static inline word random_below(word *state, word bound)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 0x2545f4914f6cdd1d >> 16) % bound;
}

/* ---- entry ---- */

int main(int argc, char **argv);

__asm__(".globl _start\n"
        "_start:\n"
        "    mov x29, xzr\n"
        "    mov x30, xzr\n"
        "    mov x0, sp\n"
        "    b start_in_c\n");

__attribute__((used)) static _Noreturn void start_in_c(const word *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    const word *after = stack + argc + 2;
    while (*after++)
        ;
    auxv_start = after;
    entry_sp = (word)stack;
    if (argc > 0)
        for (const char *c = program = argv[0]; *c; c++)
            if (*c == '/')
                program = c + 1;
    quit(main(argc, argv));
}

#endif
