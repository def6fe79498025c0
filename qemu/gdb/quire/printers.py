"""How gdb prints the project's types: `print step`, `info locals`, the arguments in a backtrace.

What cannot be read (a value that the optimiser has taken away, a struct page without translation) is said in words,
never an error: a backtrace must not break off on it."""

import gdb
import gdb.printing
import gdb.types

from . import machine, pages, reservations, tables

UNREADABLE = (gdb.error, gdb.GdbError, RuntimeError)


def careful(words):
    """Words about a value, or why there are none."""

    def to_string(value):
        if value.is_optimized_out:
            return "<optimized out>"
        try:
            return words(value)
        except UNREADABLE as error:
            return f"<{error}>"

    return to_string


def number(value):
    return machine.whole(value)


def frame_number(value):
    pfn = number(value)
    return f"pfn {pfn:#x}, physical {pfn << 12:#x}"


def address(value):
    return f"{number(value):#x}"


def order(value):
    shift = number(value)
    return f"order {shift}, {size(4096 << shift)}" if shift < 32 else f"order {shift}, which none is"


def size(count):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count // unit} {name}"
    return f"{count} bytes"


def descriptor(value):
    """A descriptor whose level nobody says: the two low bits alone tell a block from the others."""
    desc = number(value)
    if desc & 3 == 1:
        return tables.describe(desc, 2)
    if desc & 3 == 3 and desc & ~tables.ADDRESS == 3:
        return tables.describe(desc, 0)
    return tables.describe(desc, 3)


def page(value):
    return pages.brief(number(value))


def record(value):
    return reservations.Record(number(value)).describe()


def popmap(value):
    words = [int(value["__0"][n]) for n in range(8)]
    return reservations.populated(words)


def key(value):
    return f"space {int(value['space'])}, range {number(value['range']):#x}"


def step(value):
    level = number(value["level"])
    old, new = (tables.describe(number(value[name]), level) for name in ("old", "new"))
    kind = str(value["kind"]).rsplit("::", 1)[-1]
    va, slot = number(value["va"]), number(value["slot"])
    what = f"{kind} of {int(value['entries'])} from va {va:#x}, entry [{slot:#x}] of level {level}"
    return f"{what}: {old}; now {new}"


# The types by their paths, and the words for each.
TYPES = {
    "arch::addr::Pfn": frame_number,
    "arch::addr::PhysAddr": address,
    "arch::addr::VirtAddr": address,
    "arch::addr::Order": order,
    "arch::addr::Asid": lambda value: f"asid {number(value)}",
    "arch::addr::Level": lambda value: level_name(number(value)),
    "arch::pte::Desc": descriptor,
    "mm::page::door::PageRef": page,
    "mm::page::owned::FolioRef": page,
    "mm::thp::record::Record": record,
    "mm::thp::record::Key": key,
    "mm::thp::popmap::Popmap": popmap,
    "mm::steps::Step": step,
}


def level_name(level):
    return f"L{level} ({tables.LEVEL_NAMES[level]})" if level < 4 else f"level {level}, which none is"


class Printer:
    """gdb's view of one value."""

    def __init__(self, words, value):
        self.words, self.value = words, value

    def to_string(self):
        return careful(self.words)(self.value)


class Printers(gdb.printing.PrettyPrinter):
    """Found by the whole path of the type."""

    def __init__(self):
        super().__init__("quire", [gdb.printing.SubPrettyPrinter(name) for name in TYPES])

    def __call__(self, value):
        kind = gdb.types.get_basic_type(value.type)
        words = TYPES.get(kind.name)
        return Printer(words, value) if words else None


def register():
    gdb.printing.register_pretty_printer(None, Printers(), replace=True)
