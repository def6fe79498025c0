"""Reservations of huge pages, read out of the struct pages of their blocks (`mm/src/thp/record.rs` has the drawing)."""

import struct

import gdb

from . import machine, pages

PAGES = 512
# The owner's words of the first pages of a block: which ones hold what.
WORDS, SPACE, RANGE, STANDING = 8, 8, 9, 10
QUEUED = 1
# Of `spin::Once`, when its value is there.
COMPLETE = 2
PRIVATE, LINK_NEXT = 24, 16
PLACES = ("outside of the queue", "in the queue of partial ones", "full")


def runs(words):
    """(first, last) of the runs of set bits in 64-bit words, the lowest bit first."""
    bits = [n for n in range(64 * len(words)) if words[n // 64] >> n % 64 & 1]
    found = []
    for bit in bits:
        if found and found[-1][1] == bit - 1:
            found[-1][1] = bit
        else:
            found.append([bit, bit])
    return found


def populated(words):
    """A population map in words."""
    pieces = [f"{first}" if first == last else f"{first}..{last}" for first, last in runs(words)]
    count = sum(bin(word).count("1") for word in words)
    shown = ", ".join(pieces[:8]) + (f" and {len(pieces) - 8} runs more" if len(pieces) > 8 else "")
    return f"{count} of {PAGES} populated" + (f": {shown}" if shown else "")


class Record:
    """The reservation whose block begins with the struct page at `va`. Whether there is one, the table must say."""

    def __init__(self, va):
        self.va = va
        words = [self.word(n) for n in range(STANDING + 1)]
        self.map, self.space, self.standing = words[:WORDS], words[SPACE], words[STANDING]
        self.range, self.queued = words[RANGE] & ~QUEUED, bool(words[RANGE] & QUEUED)
        self.pfn = (va - pages.VMEMMAP_BASE) // pages.STRUCT_PAGE

    def word(self, n):
        return pages.words(self.va + n * pages.STRUCT_PAGE, PRIVATE, "<Q")[0]

    def next(self):
        """The struct page of the next block of the chain, or None: links hold pfn + 1."""
        (link,) = pages.words(self.va, LINK_NEXT, "<I")
        return pages.address(link - 1) if link else None

    def describe(self):
        if not self.range:
            return f"block pfn {self.pfn:#x}, where no reservation stands"
        place = self.standing & 3
        words = [f"space {self.space}", f"range {self.range:#x}", f"block pfn {self.pfn:#x}", populated(self.map)]
        words.append(PLACES[place] if place < len(PLACES) else f"place {place}")
        if self.queued:
            words.append("submitted for promotion")
        return ", ".join(words)


def memory_management():
    """The one `Mm` of the kernel."""
    try:
        once = gdb.parse_and_eval("kernel::boot::MM")
        if machine.whole(once["status"]) != COMPLETE:
            raise gdb.GdbError("memory management is not up yet")
        pointer = once["data"].address.cast(gdb.lookup_type("mm::boot::mm::Mm").pointer())
        return pointer.dereference()
    except gdb.error as error:
        raise gdb.GdbError(f"memory management cannot be read: {error}") from None


def chains():
    """The first struct page of each chain of the table that has one."""
    buckets = memory_management()["thp"]["table"]["buckets"]
    first = buckets["buf"]["ptr"]["pointer"]
    bucket = gdb.lookup_type("mm::thp::table::Bucket")
    for n in range(int(buckets["len"])):
        lock = (first + n).dereference()
        data = lock["inner"]["data"].address.cast(bucket.pointer()).dereference()
        if int(data["chain"]["len"]):
            # An `Option` of 16 bytes: whether there is one, and which.
            first_page = int(data["chain"]["first"].address)
            yield struct.unpack("<QQ", bytes(gdb.selected_inferior().read_memory(first_page, 16)))[1]


def all_records():
    """Every reservation of the machine, by space and range."""
    found = []
    for va in chains():
        while va is not None and len(found) <= 1 << 20:
            record = Record(va)
            found.append(record)
            va = record.next()
    return sorted(found, key=lambda record: (record.space, record.range))


class ReservationsCommand(gdb.Command):
    """reservations [VA]: the reservations of huge pages of all address spaces, or those whose range holds VA.

Of each: the number of its space, its range, its block, and which of the 512 pages are populated."""

    def __init__(self):
        super().__init__("reservations", gdb.COMMAND_DATA)

    def invoke(self, argument, _from_tty):
        records = all_records()
        if argument.strip():
            va = machine.number(argument)
            records = [record for record in records if record.range <= va < record.range + PAGES * 4096]
        for record in records:
            print(f"  {record.describe()}")
        print(f"  {len(records)} reservations")
