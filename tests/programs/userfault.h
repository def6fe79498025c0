/* userfaultfd, as far as Quire has it: Linux's numbers and structures, and the request that only Quire has. */
#ifndef USERFAULT_H
#define USERFAULT_H

#include "process.h"

enum { SYS_ioctl = 29, SYS_ftruncate = 46, SYS_memfd_create = 279, SYS_userfaultfd = 282 };
enum { EBUSY = 16, ENODEV = 19, ENOTTY = 25, MAP_SHARED = 1, MFD_HUGETLB = 4, MADV_SPLIT = 26 };
enum { O_NONBLOCK = 04000, O_CLOEXEC = 02000000, UFFD_USER_MODE_ONLY = 1 };

#define UFFD_API 0xaaul
#define UFFDIO_API 0xc018aa3ful
#define UFFDIO_REGISTER 0xc020aa00ul
#define UFFDIO_UNREGISTER 0x8010aa01ul
#define UFFDIO_WAKE 0x8010aa02ul
#define UFFDIO_CONTINUE 0xc020aa07ul
#define QUIRE_UFFDIO_SOURCE 0xc020aa51ul

enum { UFFD_FEATURE_MINOR_HUGETLBFS = 1 << 9, UFFD_FEATURE_EXACT_ADDRESS = 1 << 11 };
enum { MODE_MISSING = 1, MODE_WP = 2, MODE_MINOR = 4, CONTINUE_DONTWAKE = 1 };
enum { EVENT_PAGEFAULT = 0x12, FLAG_WRITE = 1, FLAG_MINOR = 4 };

struct uffdio_api {
    word api, features, ioctls;
};

struct uffdio_range {
    word start, bytes;
};

struct uffdio_register {
    word start, bytes, mode, ioctls;
};

struct uffdio_continue {
    word start, bytes, mode;
    int64_t mapped;
};

struct quire_source {
    word start, bytes, seed, arrived;
};

struct uffd_msg {
    uint8_t event, reserved[7];
    word flags, address, more;
};

static inline long uffd_ioctl(long fd, word request, void *argument)
{
    return syscall(SYS_ioctl, (word)fd, request, (word)argument);
}

/* A context of this process, with these features; the program ends here when there is none. */
static inline long uffd_open(int flags, word features)
{
    struct uffdio_api api = {UFFD_API, features, 0};
    long fd = syscall(SYS_userfaultfd, (word)flags);
    if (fd < 0 || uffd_ioctl(fd, UFFDIO_API, &api) != 0) {
        say("not ok - userfaultfd: %ld", fd);
        quit(99);
    }
    return fd;
}

static inline long uffd_register(long fd, word start, word bytes, word mode)
{
    struct uffdio_register range = {start, bytes, mode, 0};
    return uffd_ioctl(fd, UFFDIO_REGISTER, &range);
}

static inline long uffd_range(long fd, word request, word start, word bytes)
{
    struct uffdio_range range = {start, bytes};
    return uffd_ioctl(fd, request, &range);
}

/* What the call gives; `*mapped` becomes what it says is mapped. */
static inline long uffd_continue(long fd, word start, word bytes, word mode, long *mapped)
{
    struct uffdio_continue range = {start, bytes, mode, 0};
    long result = uffd_ioctl(fd, UFFDIO_CONTINUE, &range);
    *mapped = range.mapped;
    return result;
}

/* A memfd of hugetlb pages of this size, so many bytes long; the program ends here when there is none. */
static inline long huge_object(word shift, word bytes)
{
    long fd = syscall(SYS_memfd_create, (word) "huge", (word)MFD_HUGETLB | shift << MAP_HUGE_SHIFT);
    long sized = fd < 0 ? fd : syscall(SYS_ftruncate, (word)fd, bytes);
    if (sized != 0) {
        say("not ok - memory of huge pages: %ld", sized);
        quit(99);
    }
    return fd;
}

static inline long map_shared(long fd, word bytes)
{
    return syscall(SYS_mmap, 0, bytes, RW, MAP_SHARED, (word)fd, 0);
}

#endif
