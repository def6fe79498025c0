"""Physical memory and system registers of the halted machine."""

import struct

import gdb


def register(name):
    """A system register by the name that QEMU gives it."""
    value = gdb.parse_and_eval(f"${name}")
    if value.type.code == gdb.TYPE_CODE_VOID:
        raise gdb.GdbError(f"the machine shows no register {name}; is gdb attached to QEMU?")
    return int(value) & ((1 << 64) - 1)


def mmu_is_on():
    """Whether the CPU that gdb looks at translates addresses. QEMU 7.2 calls the register SCTLR."""
    values = [gdb.parse_and_eval(f"${name}") for name in ("SCTLR_EL1", "SCTLR")]
    known = [int(value) & 1 for value in values if value.type.code != gdb.TYPE_CODE_VOID]
    return known[:1] != [0]


def read_physical(address, length):
    """Bytes of physical memory, whatever the tables say."""
    gdb.execute("maintenance packet Qqemu.PhyMemMode:1", to_string=True)
    try:
        gdb.execute("maintenance flush dcache", to_string=True)
        return bytes(gdb.selected_inferior().read_memory(address, length))
    except gdb.MemoryError:
        raise gdb.GdbError(f"no memory at physical address {address:#x}") from None
    finally:
        gdb.execute("maintenance packet Qqemu.PhyMemMode:0", to_string=True)
        gdb.execute("maintenance flush dcache", to_string=True)


def read_descriptors(address, count):
    """64-bit descriptors of physical memory that stand next to one another."""
    return list(struct.unpack(f"<{count}Q", read_physical(address, 8 * count)))


def read_descriptor(address):
    """One 64-bit descriptor of physical memory."""
    return read_descriptors(address, 1)[0]


def number(text):
    """An address or number that the user gave, in gdb's own notation."""
    if not text.strip():
        raise gdb.GdbError("an address or a number is needed")
    try:
        return whole(gdb.parse_and_eval(text))
    except gdb.error as error:
        raise gdb.GdbError(str(error)) from None


def whole(value):
    """The number that a value is, or that stands in a type of one field: Pfn, PhysAddr, PageRef and so on."""
    while value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
        value = value[value.type.strip_typedefs().fields()[0]]
    return int(value) & ((1 << 64) - 1)


def symbol(name):
    """The address of a label of assembly or of the linker script, which has no type."""
    words = gdb.execute(f"info address {name}", to_string=True)
    return int(words.split(" is at ")[1].split()[0].rstrip("."), 16)


def label(address):
    """The label of the assembly at an address."""
    words = gdb.execute(f"info symbol {address:#x}", to_string=True)
    return "no symbol" if words.startswith("No symbol") else words.split()[0]
