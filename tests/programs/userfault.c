/*
 * userfault: minor faults of shared hugetlb memory, served by a child, and what every call refuses.
 *
 *     userfault [shift=21]     all checks; the pool of this size must have three pages, all free
 *     userfault stuck          leaves a child behind that waits for content which nobody brings
 *     userfault beyond         waits for content of a page that the child then takes out of the object: SIGBUS
 *
 * On Linux: `echo 3 > /sys/kernel/mm/hugepages/hugepages-<KiB>kB/nr_hugepages`; what only Quire has is left out there.
 */
#include "userfault.h"

#define PAGES 3ul

static word bytes, shift;

/* What is not written at all must not be read as a structure. */
#define NOWHERE ((void *)8)

static void opening(void)
{
    struct uffdio_api api = {UFFD_API, 0, 0};
    struct uffdio_range range = {0, 0};
    char message[32];
    CHECK_EQ(syscall(SYS_userfaultfd, 4), -EINVAL, "userfaultfd with an unknown flag");
    long fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    CHECK(fd > 2, "userfaultfd: %ld", fd);
    CHECK_EQ(syscall(SYS_read, (word)fd, (word)message, 32), -EINVAL, "read before UFFDIO_API");
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_WAKE, &range), -EINVAL, "UFFDIO_WAKE before UFFDIO_API");
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_API, NOWHERE), -EFAULT, "UFFDIO_API at a bad address");
    api.api = 7;
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_API, &api), -EINVAL, "UFFDIO_API with another version");
    CHECK_EQ(api.api | api.features | api.ioctls, 0, "what that leaves");
    api.api = UFFD_API, api.features = 1ul << 40;
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_API, &api), -EINVAL, "UFFDIO_API with an unknown feature");
    CHECK_EQ(api.api | api.features | api.ioctls, 0, "what that leaves");
    api.api = UFFD_API, api.features = UFFD_FEATURE_MINOR_HUGETLBFS;
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_API, &api), 0, "UFFDIO_API");
    CHECK((api.features & UFFD_FEATURE_MINOR_HUGETLBFS) && (api.features & UFFD_FEATURE_EXACT_ADDRESS),
          "features: %#lx", api.features);
    CHECK_EQ(api.ioctls, 1 | 2 | 1ul << 63, "requests of a context");
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_API, &api), -EINVAL, "UFFDIO_API once more");
    api.api = UFFD_API, api.features = 0;
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_API, &api), -EINVAL, "UFFDIO_API once more, without a feature");
    CHECK_EQ(uffd_ioctl(fd, 0xc010aa7f, &range), -EINVAL, "an unknown request");
    CHECK_EQ(uffd_ioctl(1, UFFDIO_WAKE, &range), -ENOTTY, "a request to another file");
    CHECK_EQ(uffd_ioctl(77, UFFDIO_WAKE, &range), -EBADF, "a request to no file");
    CHECK_EQ(syscall(SYS_read, (word)fd, (word)message, 31), -EINVAL, "read of less than a message");
    CHECK_EQ(syscall(SYS_read, (word)fd, (word)message, 32), -EAGAIN, "read where there is none");
    CHECK_EQ(syscall(SYS_write, (word)fd, (word)message, 32), -EBADF, "write");
    CHECK_EQ(syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, (word)fd, 0), -ENODEV, "mmap");
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

static void registering(long object)
{
    long fd = uffd_open(0, 0), other = uffd_open(0, 0);
    word all = PAGES * bytes, va = (word)map_shared(object, all), small = must_map(bytes);
    struct uffdio_register range = {va, all, MODE_MINOR, 0};
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_REGISTER, NOWHERE), -EFAULT, "UFFDIO_REGISTER at a bad address");
    CHECK_EQ(uffd_register(fd, va, all, 0), -EINVAL, "no mode");
    CHECK_EQ(uffd_register(fd, va, all, 8), -EINVAL, "an unknown mode");
    CHECK_EQ(uffd_register(fd, va, 0, MODE_MINOR), -EINVAL, "nothing");
    CHECK_EQ(uffd_register(fd, va + 8, all, MODE_MINOR), -EINVAL, "an address inside a page");
    CHECK_EQ(uffd_register(fd, va, all + 8, MODE_MINOR), -EINVAL, "a length that is no whole page");
    CHECK_EQ(uffd_register(fd, va + PAGE, bytes, MODE_MINOR), -EINVAL, "an address inside a huge page");
    CHECK_EQ(uffd_register(fd, va, bytes + PAGE, MODE_MINOR), -EINVAL, "an end inside a huge page");
    CHECK_EQ(uffd_register(fd, 0, all, MODE_MINOR), -EINVAL, "address 0");
    CHECK_EQ(uffd_register(fd, va, 1ul << 63, MODE_MINOR), -EINVAL, "more than all addresses");
    CHECK_EQ(uffd_register(fd, 0ul - PAGE, PAGE, MODE_MINOR), -EINVAL, "an address of the kernel");
    CHECK_EQ(uffd_register(fd, small, bytes, MODE_MINOR), -EINVAL, "private memory");
    sys_munmap(small, bytes);
    CHECK_EQ(uffd_register(fd, small, bytes, MODE_MINOR), -EINVAL, "no memory");
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_REGISTER, &range), 0, "UFFDIO_REGISTER");
    CHECK((range.ioctls & (1 << 2 | 1 << 7)) == (1 << 2 | 1 << 7), "requests of a range: %#lx", range.ioctls);
    CHECK_EQ(uffd_register(fd, va, bytes, MODE_MINOR), 0, "once more");
    CHECK_EQ(uffd_register(other, va, bytes, MODE_MINOR), -EBUSY, "what another context has");
    CHECK_EQ(uffd_range(fd, UFFDIO_UNREGISTER, va + 8, bytes), -EINVAL, "to unregister from inside a page");
    CHECK_EQ(uffd_range(fd, UFFDIO_UNREGISTER, va, 0), -EINVAL, "to unregister nothing");
    CHECK_EQ(uffd_range(fd, UFFDIO_UNREGISTER, va, bytes), 0, "UFFDIO_UNREGISTER");
    CHECK_EQ(uffd_range(fd, UFFDIO_UNREGISTER, va, bytes), 0, "once more");
    CHECK_EQ(uffd_register(other, va, bytes, MODE_MINOR), 0, "what the other context has given up");
    CHECK_EQ(uffd_range(fd, UFFDIO_WAKE, va + 8, bytes), -EINVAL, "to wake from inside a page");
    CHECK_EQ(uffd_range(fd, UFFDIO_WAKE, va, 0), -EINVAL, "to wake nothing");
    CHECK_EQ(uffd_range(fd, UFFDIO_WAKE, va, all), 0, "UFFDIO_WAKE where nobody waits");
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_WAKE, NOWHERE), -EFAULT, "UFFDIO_WAKE at a bad address");
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_UNREGISTER, NOWHERE), -EFAULT, "UFFDIO_UNREGISTER at a bad address");
    CHECK_EQ(syscall(SYS_close, (word)other), 0, "close");
    CHECK_EQ(uffd_register(fd, va, bytes, MODE_MINOR), 0, "what a closed context had");
    sys_munmap(va, all);
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

static void continuing(long object)
{
    long fd = uffd_open(0, 0), mapped;
    word all = PAGES * bytes, va = (word)map_shared(object, all), back = (word)map_shared(object, all);
    CHECK_EQ(uffd_continue(fd, va, bytes, 0, &mapped), -ENOENT, "what is not registered");
    CHECK_EQ(mapped, -ENOENT, "mapped");
    CHECK_EQ(uffd_register(fd, va, all, MODE_MINOR), 0, "UFFDIO_REGISTER");
    CHECK_EQ(uffd_ioctl(fd, UFFDIO_CONTINUE, NOWHERE), -EFAULT, "UFFDIO_CONTINUE at a bad address");
    CHECK_EQ(uffd_continue(fd, va, bytes, 4, &mapped), -EINVAL, "an unknown mode");
    CHECK_EQ(uffd_continue(fd, va, 0, 0, &mapped), -EINVAL, "nothing");
    CHECK_EQ(uffd_continue(fd, va + 8, bytes, 0, &mapped), -EINVAL, "an address inside a page");
    CHECK_EQ(uffd_continue(fd, va, PAGE, 0, &mapped), -EINVAL, "a part of a huge page");
    CHECK_EQ(uffd_continue(fd, back, bytes, 0, &mapped), -ENOENT, "another mapping");
    CHECK_EQ(uffd_continue(fd, va, bytes, 0, &mapped), -EFAULT, "a page that the object has not");
    CHECK_EQ(mapped, -EFAULT, "mapped");
    store(back, 5), store(back + bytes, 6);
    CHECK_EQ(uffd_continue(fd, va, all, 0, &mapped), -EAGAIN, "two pages of three");
    CHECK_EQ(mapped, 2 * bytes, "mapped");
    CHECK_EQ(uffd_continue(fd, va, bytes, 0, &mapped), -EEXIST, "what is mapped");
    CHECK_EQ(mapped, -EEXIST, "mapped");
    CHECK_EQ(load(va), 5, "the first page");
    CHECK_EQ(load(va + bytes), 6, "the second page");
    CHECK_EQ(load(va + 2 * bytes), 0, "the third page, which nobody need bring");
    sys_munmap(back, all), sys_munmap(va, all);
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

/* The child: serves the faults of two pages of its parent. */
static int serve(long fd, word va, word back)
{
    struct uffd_msg message;
    long mapped;
    for (word page = 0; page < 2; page++) {
        if (syscall(SYS_read, (word)fd, (word)&message, sizeof message) != sizeof message)
            return 1;
        word flags = FLAG_MINOR | (page ? FLAG_WRITE : 0);
        if (message.event != EVENT_PAGEFAULT || message.flags != flags || message.address != va + page * bytes)
            return 2;
        store(back + page * bytes + 8, 40 + page);
        if (uffd_continue(fd, va + page * bytes, bytes, page ? CONTINUE_DONTWAKE : 0, &mapped) != 0)
            return 3;
        if (page && uffd_range(fd, UFFDIO_WAKE, va + bytes, bytes) != 0)
            return 4;
    }
    return 0;
}

/* The child waits for a fault and ends: its descriptor is the last one. */
static int leave(long fd)
{
    struct uffd_msg message;
    return syscall(SYS_read, (word)fd, (word)&message, sizeof message) != sizeof message;
}

static void serving(long object)
{
    word all = PAGES * bytes, va = (word)map_shared(object, all), back = (word)map_shared(object, all);
    long fd = uffd_open(0, UFFD_FEATURE_MINOR_HUGETLBFS);
    int status = -1;
    for (word page = 0; page < PAGES; page++)
        store(back + page * bytes, 30 + page);
    CHECK_EQ(uffd_register(fd, va, all, MODE_MINOR), 0, "UFFDIO_REGISTER");
    long child = fork();
    if (child == 0)
        quit(serve(fd, va, back));
    CHECK_EQ(load(va + 8), 40, "what the child has brought");
    store(va + bytes + 16, 3);
    CHECK_EQ(load(va + bytes + 8), 41, "what it has brought to the second page");
    CHECK_EQ(wait4(child, &status, 0), child, "wait4");
    CHECK_EQ(status, 0, "the child that serves");
    child = fork();
    if (child == 0)
        quit(leave(fd));
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
    CHECK_EQ(load(va + 2 * bytes), 32, "the third page, when nobody has the descriptor");
    CHECK_EQ(wait4(child, &status, 0), child, "wait4");
    CHECK_EQ(status, 0, "the child that leaves");
    sys_munmap(va, all), sys_munmap(back, all);
}

/* Only the program's own accesses are served; and a child of fork is served by nobody. */
static void not_serving(long object)
{
    word all = PAGES * bytes, va = (word)map_shared(object, all);
    long fd = uffd_open(UFFD_USER_MODE_ONLY | O_NONBLOCK, UFFD_FEATURE_EXACT_ADDRESS);
    struct uffd_msg message[2];
    int status = -1;
    CHECK_EQ(uffd_register(fd, va, all, MODE_MINOR), 0, "UFFDIO_REGISTER");
    CHECK(unwritable(va), "the kernel writes where it would have to wait");
    CHECK_EQ(syscall(SYS_read, (word)fd, (word)message, sizeof message), -EAGAIN, "what is told of that");
    long child = fork();
    if (child == 0)
        quit((int)load(va + bytes) - 31);
    CHECK_EQ(wait4(child, &status, 0), child, "wait4");
    CHECK_EQ(status, 0, "what a child finds");
    child = fork();
    if (child == 0) {
        while (syscall(SYS_read, (word)fd, (word)message, sizeof message) == -EAGAIN)
            yield();
        long mapped, done = uffd_continue(fd, va, bytes, 0, &mapped);
        quit(done || message[0].address != va + 8 * PAGE + 16);
    }
    (void)load(va + 8 * PAGE + 16);
    CHECK_EQ(wait4(child, &status, 0), child, "wait4");
    CHECK_EQ(status, 0, "the address of the access");
    sys_munmap(va, all);
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

/* The child: brings one page of 4 KiB, as it is asked to. */
static int serve_page(long fd, word va, word back)
{
    struct uffd_msg message;
    long mapped;
    if (syscall(SYS_read, (word)fd, (word)&message, sizeof message) != sizeof message)
        return 1;
    if (message.address != va + 5 * PAGE || message.flags != FLAG_MINOR)
        return 2;
    store(back + 5 * PAGE + 24, 55);
    if (uffd_continue(fd, va + 5 * PAGE, PAGE, 0, &mapped) != 0 || mapped != (long)PAGE)
        return 3;
    return uffd_continue(fd, va + 4 * PAGE, 2 * PAGE, 0, &mapped) != -EAGAIN || mapped != (long)PAGE;
}

/* Of Quire, and of the series that was never merged: 4 KiB of a huge page at a time. */
static void by_pages(long object)
{
    word all = PAGES * bytes, va = (word)map_shared(object, all), back = (word)map_shared(object, all);
    long fd = uffd_open(0, 0), mapped;
    int status = -1;
    CHECK_EQ(uffd_register(fd, va, all, MODE_MINOR), 0, "UFFDIO_REGISTER");
    long permitted = sys_madvise(va, bytes, MADV_SPLIT);
    CHECK(permitted == 0 || permitted == -EINVAL, "MADV_SPLIT: %ld", permitted);
    if (permitted != 0) {
        syscall(SYS_close, (word)fd), sys_munmap(va, all), sys_munmap(back, all);
        return;
    }
    CHECK_EQ(uffd_continue(fd, va + 8, PAGE, 0, &mapped), -EINVAL, "an address inside of 4 KiB");
    CHECK_EQ(uffd_continue(fd, va + bytes, PAGE, 0, &mapped), -EINVAL, "4 KiB of a page that is one piece");
    long child = fork();
    if (child == 0)
        quit(serve_page(fd, va, back));
    CHECK_EQ(load(va + 5 * PAGE + 24), 55, "what the child has brought");
    CHECK_EQ(wait4(child, &status, 0), child, "wait4");
    CHECK_EQ(status, 0, "the child that serves 4 KiB");
    CHECK_EQ(sys_madvise(va, bytes, MADV_COLLAPSE), 0, "MADV_COLLAPSE");
    CHECK_EQ(load(va + 8), load(back + 8), "what nobody has continued");
    sys_munmap(va, all), sys_munmap(back, all);
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
}

static long source(long fd, word start, word length)
{
    struct quire_source request = {start, length, 1, 0};
    return uffd_ioctl(fd, QUIRE_UFFDIO_SOURCE, &request);
}

/* Of Quire only: a source of content, and what it refuses. */
static void a_source(long object)
{
    word all = PAGES * bytes, va = (word)map_shared(object, all);
    long fd = uffd_open(0, 0);
    struct quire_source request = {va, all, 7, 99};
    CHECK_EQ(source(fd, va, all), -EINVAL, "a range that is not registered");
    CHECK_EQ(uffd_register(fd, va, all, MODE_MINOR), 0, "UFFDIO_REGISTER");
    CHECK_EQ(uffd_ioctl(fd, QUIRE_UFFDIO_SOURCE, NOWHERE), -EFAULT, "a bad address");
    CHECK_EQ(source(fd, va + 8, all), -EINVAL, "an address inside a page");
    CHECK_EQ(source(fd, va + PAGE, bytes), -EINVAL, "an address inside a huge page");
    CHECK_EQ(source(fd, va, PAGE), -EINVAL, "a part of a huge page");
    CHECK_EQ(source(fd, va, all + bytes), -EINVAL, "more than the mapping");
    CHECK_EQ(uffd_ioctl(fd, QUIRE_UFFDIO_SOURCE, &request), 0, "a source");
    long again = source(fd, va, all);
    word wrong = 0;
    for (word at = all; at > 0; at -= bytes / 8)
        wrong += load(va + at - 8) != pattern(at - 8, 7);
    CHECK_EQ(wrong, 0, "words that did not arrive as they should");
    for (word at = 0; at < all; at += PAGE / 2)
        wrong += load(va + at) != pattern(at, 7);
    CHECK_EQ(wrong, 0, "words that did not arrive as they should");
    /* Where the first one had ended, nothing is registered any more. */
    CHECK(again == -EBUSY || again == -EINVAL, "a second source: %ld", again);
    request.bytes = 0;
    CHECK_EQ(uffd_ioctl(fd, QUIRE_UFFDIO_SOURCE, &request), 0, "how far it is");
    CHECK_EQ(request.arrived, all, "bytes that have come");
    sys_munmap(va, all);
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
    /* One that is left alone is ended by the end of its context. */
    fd = uffd_open(0, 0), va = (word)map_shared(object, all);
    CHECK_EQ(uffd_register(fd, va, all, MODE_MINOR), 0, "UFFDIO_REGISTER");
    CHECK_EQ(source(fd, va, all), 0, "a source");
    CHECK_EQ(syscall(SYS_close, (word)fd), 0, "close");
    (void)load(va);
    sys_munmap(va, all);
}

/* A child waits for ever; this process ends. */
static int stuck(long object)
{
    word va = (word)map_shared(object, bytes);
    if (fork() == 0) {
        long fd = uffd_open(0, 0);
        store(va, 1);
        uffd_register(fd, va, bytes, MODE_MINOR);
        sys_madvise(va, bytes, MADV_DONTNEED);
        quit((int)load(va));
    }
    sleep_ns(30000000);
    return 0;
}

static int beyond(long object)
{
    word va = (word)map_shared(object, PAGES * bytes);
    struct uffd_msg message;
    long fd = uffd_open(0, 0);
    store(va, 1);
    uffd_register(fd, va, PAGES * bytes, MODE_MINOR);
    sys_madvise(va, bytes, MADV_DONTNEED);
    if (fork() == 0) {
        syscall(SYS_read, (word)fd, (word)&message, sizeof message);
        syscall(SYS_ftruncate, (word)object, 0);
        quit(uffd_range(fd, UFFDIO_WAKE, va, bytes) != 0);
    }
    return (int)load(va);
}

int main(int argc, char **argv)
{
    shift = option(argv, "shift", 21);
    bytes = 1ul << shift;
    long object = huge_object(shift, PAGES * bytes);
    if (same(mode(argc, argv, ""), "stuck"))
        return stuck(object);
    if (same(mode(argc, argv, ""), "beyond"))
        return beyond(object);
    opening();
    registering(object);
    continuing(object);
    serving(object);
    not_serving(object);
    long fd = uffd_open(0, 0);
    if (uffd_ioctl(fd, QUIRE_UFFDIO_SOURCE, NOWHERE) != -EINVAL)
        by_pages(object), a_source(object);
    return finish();
}
