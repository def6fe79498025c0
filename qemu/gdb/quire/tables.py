"""VMSAv8-64 tables, 4K granule, 48-bit addresses: walked through physical memory, every level decoded."""

import gdb

from . import machine

ADDRESS = 0x0000_FFFF_FFFF_F000
LEVEL_NAMES = ["PGD", "PUD", "PMD", "PTE"]


def shift(level):
    return 39 - 9 * level


def kind(desc, level):
    """invalid, table, block or page."""
    low = desc & 3
    if low == 3:
        return "page" if level == 3 else "table"
    if low == 1 and level in (1, 2):
        return "block"
    return "invalid"


def output(desc, level):
    """The output address, or the address of the next table."""
    if kind(desc, level) == "block":
        return desc & ADDRESS & ~((1 << shift(level)) - 1)
    return desc & ADDRESS


def rights(desc):
    """The rights and attributes of a leaf, in words."""
    words = ["r-" if desc >> 7 & 1 else "rw"]
    if not desc >> 53 & 1:
        words.append("x@EL1")
    if not desc >> 54 & 1:
        words.append("x@EL0")
    words.append("user" if desc >> 6 & 1 else "kernel")
    words.append("device" if desc >> 2 & 7 else "normal")
    words.append("nG" if desc >> 11 & 1 else "global")
    words += [name for bit, name in ((10, "AF"), (51, "DBM"), (52, "contiguous")) if desc >> bit & 1]
    return " ".join(words)


def describe(desc, level):
    """One descriptor in words."""
    what = kind(desc, level)
    if what == "invalid":
        return f"{desc:#018x} invalid"
    if what == "table":
        return f"{desc:#018x} table -> {output(desc, level):#x}"
    return f"{desc:#018x} {what} -> {output(desc, level):#x} {rights(desc)}"


def root_for(va):
    """The root table whose half holds this address."""
    top = va >> 48
    if top not in (0, 0xFFFF):
        raise gdb.GdbError(f"{va:#x} is in neither half of the address space")
    if not machine.mmu_is_on():
        raise gdb.GdbError("the MMU of this CPU is off: it uses no tables")
    return machine.register("TTBR1_EL1" if top else "TTBR0_EL1") & ADDRESS


def walk(va):
    """(level, address of the descriptor, descriptor) from the root down."""
    table = root_for(va)
    steps = []
    for level in range(4):
        slot = table + 8 * (va >> shift(level) & 0x1FF)
        desc = machine.read_descriptor(slot)
        steps.append((level, slot, desc))
        if kind(desc, level) != "table":
            break
        table = output(desc, level)
    return steps


def translate(va):
    """The physical address, or None where the walk ends in an invalid descriptor."""
    level, _, desc = walk(va)[-1]
    if kind(desc, level) not in ("block", "page"):
        return None
    return output(desc, level) | va & (1 << shift(level)) - 1


class PtCommand(gdb.Command):
    """pt VA: walk the live tables for a virtual address, every level decoded.

Reads TTBR0_EL1 or TTBR1_EL1 and physical memory, so it works in the middle of a remap too."""

    def __init__(self):
        super().__init__("pt", gdb.COMMAND_DATA)

    def invoke(self, argument, _from_tty):
        va = machine.number(argument)
        for level, slot, desc in walk(va):
            print(f"  L{level} {LEVEL_NAMES[level]} [{slot:#x}] {describe(desc, level)}")
        pa = translate(va)
        print(f"  {va:#x} -> " + ("no translation" if pa is None else f"{pa:#x}"))
