"""struct page and the vmemmap that holds it, read through the live tables and physical memory."""

import struct

import gdb

from . import machine, tables

VMEMMAP_BASE = 0xFFFF_8000_0000_0000
STRUCT_PAGE = 64
VMEMMAP_PAGES_PER_HUGE_PAGE = 8
FIELDS = "<QQIIQQQIIII"
FLAG_NAMES = ("head", "hvo", "reserved", "moving", "partial", "candidate", "poisoned", "unreliable")


def kind_names():
    """The names of `PageKind`, from the program's own debug information."""
    values = gdb.lookup_type("mm::page::flags::PageKind").fields()
    return {field.enumval: field.name.rsplit("::", 1)[-1] for field in values}


def address(pfn):
    return VMEMMAP_BASE + pfn * STRUCT_PAGE


def brief(va):
    """The page whose struct page stands at this address, in a line."""
    pfn = (va - VMEMMAP_BASE) // STRUCT_PAGE
    if not VMEMMAP_BASE <= va < VMEMMAP_BASE + (1 << 37) or va % STRUCT_PAGE:
        return f"no struct page: {va:#x}"
    if tables.translate(va) is None:
        return f"pfn {pfn:#x}, whose struct page has no translation"
    flags, info = words(va, 0, "<QQ")
    if info & 1:
        return f"pfn {pfn:#x}, tail of pfn {(head_of(va) - VMEMMAP_BASE) // STRUCT_PAGE:#x}"
    ref, mapped = words(va, 48, "<II")
    kind = kind_names().get(flags >> 8 & 0xFF, "unknown")
    return f"pfn {pfn:#x}, {kind}, order {flags >> 16 & 0xFF}, refcount {ref}, mapcount {mapped}"


class FolioCommand(gdb.Command):
    """folio PFN: the head of the folio that a frame belongs to, and how its struct pages are mapped if HVO is at work."""

    def __init__(self):
        super().__init__("folio", gdb.COMMAND_DATA)

    def invoke(self, argument, _from_tty):
        pfn = machine.number(argument)
        head = (head_of(address(pfn)) - VMEMMAP_BASE) // STRUCT_PAGE
        if head != pfn:
            print(f"  pfn {pfn:#x} is page {pfn - head} of the folio of pfn {head:#x}")
        gdb.execute(f"page {head:#x}")
        if words(address(head), 0, "<Q")[0] & 2:
            gdb.execute(f"vmemmap {head:#x}")


class PageCommand(gdb.Command):
    """page PFN: the struct page of a frame, field by field."""

    def __init__(self):
        super().__init__("page", gdb.COMMAND_DATA)

    def invoke(self, argument, _from_tty):
        pfn = machine.number(argument)
        va = address(pfn)
        pa = tables.translate(va)
        if pa is None:
            raise gdb.GdbError(f"the struct page of pfn {pfn:#x}, at {va:#x}, has no translation")
        raw = machine.read_physical(pa, STRUCT_PAGE)
        flags, info, nxt, prev, private, mapping, index, ref, mapped, pins, _ = struct.unpack(FIELDS, raw)
        kind = kind_names().get(flags >> 8 & 0xFF, "unknown")
        names = [name for bit, name in enumerate(FLAG_NAMES) if flags >> bit & 1]
        print(f"  pfn {pfn:#x}  physical {pfn << 12:#x}  struct page {va:#x} -> {pa:#x}")
        print(f"  kind {kind}  order {flags >> 16 & 0xFF}  flags {' '.join(names) or 'none'}")
        print(f"  refcount {ref}  mapcount {mapped}  pincount {pins}")
        tail = "not a tail" if not info & 1 else "tail"
        print(f"  compound_info {info:#x} ({tail})  private {private:#x}")
        print(f"  mapping {mapping:#x}  index {index:#x}  link next {nxt:#x} prev {prev:#x}")


def words(va, offset, form):
    """Fields of a struct page, from `offset` on."""
    pa = tables.translate(va)
    if pa is None:
        raise gdb.GdbError(f"the struct page at {va:#x} has no translation")
    return struct.unpack(form, machine.read_physical(pa + offset, struct.calcsize(form)))


def head_of(va):
    """The struct page of the head of a folio, from that of any page of it, in either encoding of tails."""

    def lead(info, tail):
        is_mask = info >> 32 == 0xFFFF_FFFF
        return (tail & info if is_mask else info) & ~1

    flags, info = words(va, 0, "<QQ")
    if info & 1:
        return lead(info, va)
    if va % 4096 == 0 and flags & 1:
        # The head, or the head's page in another place: the next struct page is a tail, and knows.
        _, info = words(va + STRUCT_PAGE, 0, "<QQ")
        if info & 1:
            return lead(info, va + STRUCT_PAGE)
    return va


def mapped(va, pages):
    """(level, frame or None, rights) of `pages` pages from `va` on, a table at a time."""
    while pages:
        level, slot, desc = tables.walk(va)[-1]
        index = va >> 12 & 511
        count = min(pages, 512 - index)
        if level == 3:
            descs = machine.read_descriptors(slot, count)
            for desc in descs:
                frame = None if tables.kind(desc, 3) == "invalid" else tables.output(desc, 3)
                yield level, frame, tables.rights(desc)
        else:
            first = None if tables.kind(desc, level) != "block" else tables.output(desc, level)
            for n in range(count):
                yield level, None if first is None else first + (index + n) * 4096, tables.rights(desc)
        va, pages = va + count * 4096, pages - count


def pieces(va, pages):
    """Prints how pages from `va` on are mapped, those that are mapped alike as one."""
    run = []

    def show(first):
        level, frame, rights = run[0]
        offsets = f"+{first * 4}K" + (f"..+{(first + len(run) - 1) * 4}K" if len(run) > 1 else "")
        what = "of a block" if level != 3 else "entry  " if len(run) == 1 else "entries"
        to = "no translation" if frame is None else f"{frame:#x}"
        if len({frame for _, frame, _ in run}) > 1:
            to += " and others of its own"
        print(f"  {offsets:<16} {len(run):>6} {what} -> {to} {rights if frame is not None else ''}")

    first = 0
    for n, entry in enumerate(mapped(va, pages)):
        alike = run and entry[0] == run[0][0] and entry[2] == run[0][2] and (entry[1] is None) == (run[0][1] is None)
        if run and (not alike or len(run) > 1 and (entry[1] == run[-1][1]) != (run[1][1] == run[0][1])):
            show(first)
            run, first = [], n
        run.append(entry)
    show(first)


class VmemmapCommand(gdb.Command):
    """vmemmap PFN: how the struct pages of a hugetlb folio are mapped, or those of the 2 MiB around a frame."""

    def __init__(self):
        super().__init__("vmemmap", gdb.COMMAND_DATA)

    def invoke(self, argument, _from_tty):
        pfn = machine.number(argument)
        head = head_of(address(pfn))
        (flags,) = words(head, 0, "<Q")
        order = flags >> 16 & 0xFF
        if kind_names().get(flags >> 8 & 0xFF) == "Hugetlb" and order > 6:
            first, pages = (head - VMEMMAP_BASE) // STRUCT_PAGE, 1 << order - 6
            state = "optimised" if flags & 2 else "struct pages of its own"
            print(f"  folio of pfn {first:#x}, order {order}, {pages} pages of vmemmap from {head:#x}: {state}")
            pieces(head, pages)
            return
        first = pfn & ~511
        print(f"  struct pages of pfn {first:#x}..{first + 511:#x}")
        for n in range(VMEMMAP_PAGES_PER_HUGE_PAGE):
            va = address(first) + n * 4096
            level, _, desc = tables.walk(va)[-1]
            print(f"  [{n}] {va:#x} L{level} {tables.describe(desc, level)}")
