"""struct page and the vmemmap that holds it, read through the live tables and physical memory."""

import struct

import gdb

from . import machine, tables

VMEMMAP_BASE = 0xFFFF_8000_0000_0000
STRUCT_PAGE = 64
VMEMMAP_PAGES_PER_HUGE_PAGE = 8
FIELDS = "<QQIIQQQIIII"
FLAG_NAMES = ("head", "hvo")


def kind_names():
    """The names of `PageKind`, from the program's own debug information."""
    values = gdb.lookup_type("mm::page::flags::PageKind").fields()
    return {field.enumval: field.name.rsplit("::", 1)[-1] for field in values}


def address(pfn):
    return VMEMMAP_BASE + pfn * STRUCT_PAGE


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


class VmemmapCommand(gdb.Command):
    """vmemmap PFN: the eight vmemmap pages that hold the struct pages of the 2 MiB around a frame."""

    def __init__(self):
        super().__init__("vmemmap", gdb.COMMAND_DATA)

    def invoke(self, argument, _from_tty):
        head = machine.number(argument) & ~511
        print(f"  struct pages of pfn {head:#x}..{head + 511:#x}")
        for n in range(VMEMMAP_PAGES_PER_HUGE_PAGE):
            va = address(head) + n * 4096
            level, _, desc = tables.walk(va)[-1]
            print(f"  [{n}] {va:#x} L{level} {tables.describe(desc, level)}")
