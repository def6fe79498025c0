"""Which instruction wrote a descriptor: back through the recording from any entry of a table.

A watchpoint is about the address that a store used, so all addresses that the kernel has for a table are watched: the
linear map's, its own in the image, and the physical one, which was used before the MMU was on."""

import contextlib

import gdb

from . import code, machine, replay, tables

LINEAR_BASE = 0xFFFF_0000_0000_0000
IMAGE_BASE = 0xFFFF_FFFF_8000_0000
# What carries a store out; who asked for it is the caller.
BELOW = ("core::", "arch::", "mm::pgtable::")
MOST_SHOWN = 40


def addresses(slot):
    """The virtual addresses at which the kernel may have written the descriptor at this physical address."""
    found = [LINEAR_BASE + slot, slot]
    image = tables.translate(IMAGE_BASE) if machine.mmu_is_on() else None
    if image is not None and image <= slot < image + machine.symbol("__image_end") - IMAGE_BASE:
        found.append(IMAGE_BASE + slot - image)
    return found


@contextlib.contextmanager
def watched(at):
    """QEMU stops behind each store to these addresses meanwhile. gdb is not asked: it may be unable to read them."""
    for va in at:
        gdb.execute(f"maintenance packet Z2,{va:x},8", to_string=True)
    try:
        yield
    finally:
        for va in at:
            gdb.execute(f"maintenance packet z2,{va:x},8", to_string=True)


class Store:
    """A store that changed a descriptor. The machine stands right before it."""

    def __init__(self, before, after):
        self.before, self.after = before, after
        self.position = replay.position()
        self.calls = code.calls()
        self.instruction = code.instruction(code.here())

    def asked_by(self):
        """The innermost function that is not of those that only carry a store out."""
        own = (call for call in self.calls if not call.path.startswith(BELOW))
        return next(own, self.calls[-1])

    def stored_by(self):
        """The innermost function of the kernel's."""
        own = (call for call in self.calls if not call.path.startswith("core::"))
        return next(own, self.calls[-1])


def last_store(slot):
    """Goes back to right before the last store that changed the descriptor; None if there was none: the machine stands
    at the begin then. Stores that left it as it was are passed over."""
    at = addresses(slot)
    with replay.alone():
        while True:
            with watched(at):
                replay.run("reverse-continue")
            if replay.position() == 0:
                return None
            after = machine.read_descriptor(slot)
            replay.run("reverse-stepi")
            before = machine.read_descriptor(slot)
            if before != after:
                return Store(before, after)


def show(store, level, slot, now):
    name = tables.LEVEL_NAMES[level]
    print(f"entry [{slot:#x}] of level {level} ({name})")
    print(f"  before  {tables.describe(store.before, level)}")
    print(f"  after   {tables.describe(store.after, level)}")
    if now != store.after:
        print(f"  {now:#018x} stood there later, stored by no instruction: the CPU set the access flag or dirty state")
    print(f"  stored by  {store.stored_by()}")
    print(f"  asked by   {store.asked_by()}")
    print(f"  with       {store.instruction}, which comes next at {replay.where(store.position)}")
    print("  callers")
    for call in store.calls[:MOST_SHOWN]:
        print(f"    {call}")
    if len(store.calls) > MOST_SHOWN:
        print(f"    and {len(store.calls) - MOST_SHOWN} more: `backtrace`")


class WhoWroteCommand(gdb.Command):
    """who-wrote VA [LEVEL], who-wrote -entry PA [LEVEL], who-wrote: go back to the store that made an entry what it is.

VA is translated by the tables of this moment, and the entry on which its walk ends is meant, or that of LEVEL (0 to 3).
-entry names an entry by the physical address at which it stands, as `pt` and the tour print it: so also one of a
process that has ended. Without arguments: the same entry, one store further back.
The machine then stands right before the store: `stepi` makes it, `reverse-step` goes on back. Only in a recording."""

    def __init__(self):
        super().__init__("who-wrote", gdb.COMMAND_RUNNING)
        self.last = None

    def invoke(self, argument, _from_tty):
        replay.position()
        level, slot = self.meant(gdb.string_to_argv(argument))
        self.last = level, slot
        now = machine.read_descriptor(slot)
        store = last_store(slot)
        if store is None:
            print(f"entry [{slot:#x}] of level {level} ({tables.LEVEL_NAMES[level]})")
            print(f"  was {tables.describe(machine.read_descriptor(slot), level)} when the recording began")
            print("  nothing has changed it since: the begin is reached, where the MMU is off; `replay end` goes to the end")
            return
        show(store, level, slot, now)

    def meant(self, words):
        """(level, address) of the entry that the user means."""
        if not words:
            if self.last is None:
                raise gdb.GdbError("who-wrote VA [LEVEL], or who-wrote -entry PA [LEVEL]")
            return self.last
        by_place = words[0] == "-entry"
        words = words[1:] if by_place else words
        if len(words) not in (1, 2):
            raise gdb.GdbError("who-wrote VA [LEVEL], or who-wrote -entry PA [LEVEL]")
        number = machine.number(words[0])
        level = machine.number(words[1]) if len(words) == 2 else None
        if level is not None and level > 3:
            raise gdb.GdbError(f"level {level}: the levels are 0 to 3")
        if by_place:
            return self.at(number, level)
        steps = tables.walk(number)
        if level is None:
            return steps[-1][:2]
        if level >= len(steps):
            last = len(steps) - 1
            raise gdb.GdbError(f"the walk of {number:#x} ends at level {last}: it has no entry of level {level}")
        return steps[level][:2]

    @staticmethod
    def at(slot, level):
        if slot % 8:
            raise gdb.GdbError(f"{slot:#x}: an entry stands at a multiple of 8")
        if machine.mmu_is_on() and tables.translate(LINEAR_BASE + slot) is None:
            raise gdb.GdbError(f"{slot:#x}: the linear map has no memory there")
        if level is None:
            # A block is of level 2 but for those of 1 GiB; what else is valid is most likely a page.
            level = 2 if machine.read_descriptor(slot) & 3 == 1 else 3
        return level, slot
