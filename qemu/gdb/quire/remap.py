"""The steps of a promotion or of an HVO remap, one by one.

The kernel calls one function of `mm::steps` after each step of a remap, with the entry before and after it. A
breakpoint on each shows the step, reads the entry back from physical memory, and says what is still owed."""

import struct

import gdb

from . import machine, replay, tables

STEPS = [
    "promote_begin", "promote_break", "promote_flush", "promote_make", "promote_replace",
    "hvo_begin", "hvo_split_break", "hvo_split_flush", "hvo_split_make", "hvo_split_replace",
    "hvo_break", "hvo_read_only", "hvo_flush", "hvo_copy", "hvo_make", "hvo_repoint", "hvo_end",
    "restore_begin", "restore_break", "restore_repoint", "restore_flush", "restore_copy", "restore_make",
    "restore_relax", "restore_end",
]
# They store no descriptor.
STILL = ("_begin", "_flush", "_copy", "_end")
OWED = ["nothing", "DSB ISHST, TLBI, DSB ISH, then the make", "the make", "DSB ISHST, TLBI, DSB ISH"]
# repr(C): kind, owed and level are a byte each, entries 32 bits at offset 4; four 64-bit words follow.
STEP_LAYOUT = "<BBBxIQQQQ"
PAGE = 4096


class Step:
    """One step, as the kernel announced it: about a run of entries that stand next to one another."""

    def __init__(self, name, pointer):
        raw = bytes(gdb.selected_inferior().read_memory(pointer, struct.calcsize(STEP_LAYOUT)))
        _, owed, self.level, self.entries, self.va, self.slot, self.old, self.new = struct.unpack(STEP_LAYOUT, raw)
        self.name = name
        self.owed = OWED[owed]

    def show(self):
        what = "1 entry" if self.entries == 1 else f"{self.entries} entries"
        print(f"{self.name}: {what} from va {self.va:#x}, entry [{self.slot:#x}] of level {self.level}")
        if self.name.endswith(("_begin", "_end")):
            print(f"  now    {self.describe(self.now())}")
        elif self.name.endswith("_copy"):
            self.show_copied(self.now())
        elif not self.name.endswith(STILL):
            self.show_stored(self.now())
        print(f"  owed   {self.owed}")

    def now(self):
        """The entries of the run within one table, as they stand in memory."""
        return machine.read_descriptors(self.slot, min(self.entries, 512 - self.slot // 8 % 512))

    def describe(self, entries):
        """The first of these entries in words, and what the others map."""
        first = tables.describe(entries[0], self.level)
        frames = {tables.output(entry, self.level) for entry in entries}
        if len(entries) == 1:
            return first
        if tables.kind(entries[0], self.level) == "invalid":
            return f"{first}, all {len(entries)}"
        words = f"{first}, all {len(entries)} of them" if len(frames) == 1 else f"{first}, {len(frames)} frames"
        writable = sum(entry >> 7 & 1 == 0 for entry in entries)
        return words if writable in (0, len(entries)) else f"{words}, {writable} of {len(entries)} rw"

    def show_stored(self, entries):
        print(f"  before {tables.describe(self.old, self.level)}")
        print(f"  now    {self.describe(entries)}")
        if entries[0] != self.new or len({tables.kind(entry, self.level) for entry in entries}) != 1:
            print(f"  NOT AS ANNOUNCED: {tables.describe(self.new, self.level)}")
        if self.name.endswith("_repoint"):
            frames = [tables.output(desc, self.level) for desc in (self.old, self.new)]
            print(f"  bytes  behind {frames[0]:#x} and {frames[1]:#x}: {alike(frames)}")

    def show_copied(self, entries):
        frames = {tables.output(entry, self.level) for entry in entries}
        print(f"  bytes  of the {len(frames)} frames that the first run maps: {alike(frames)}")


def alike(frames):
    """Whether frames hold the same bytes."""
    return "equal" if len({machine.read_physical(frame, PAGE) for frame in frames}) == 1 else "DIFFERENT"


class StepBreakpoint(gdb.Breakpoint):
    """Stops at the first instruction of a step's function, where x0 points to the step."""

    def __init__(self, name, on_step):
        lines = gdb.decode_line(f"mm::steps::{name}")[1]
        if not lines:
            raise gdb.GdbError(f"the kernel has no function mm::steps::{name}")
        entry = gdb.block_for_pc(lines[0].pc).function.value().address
        super().__init__(f"*{int(entry):#x}", internal=True)
        self.name_of_step = name
        self.on_step = on_step

    def stop(self):
        step = Step(self.name_of_step, machine.register("x0"))
        return self.on_step(step)


class RemapCommand(gdb.Command):
    """remap: stop at each step of every HVO remap and promotion from here on, or back.

`remap` arms the stops; `continue` goes to the next step. `remap hvo`, `remap restore` and `remap promote` stop
at the steps of that name only. `remap off` disarms. `remap back`, or `remap back promote` and so on, goes back to the
step before, with the entries as they were then: only in a recording. A step is about a run of entries: it shows the
first of them before, and all of them as they stand in memory now. Which steps there are is the strategy's, `hvo=` of
the boot."""

    def __init__(self):
        super().__init__("remap", gdb.COMMAND_RUNNING)
        self.breakpoints = []

    def invoke(self, argument, _from_tty):
        back, word = self.parse(argument)
        if back:
            replay.position()
        if back and not word and self.breakpoints:
            self.go_back()
            return
        self.disarm()
        if word == "off":
            return
        chosen = [name for name in STEPS if name.startswith(word)]
        if not chosen:
            raise gdb.GdbError(f"no step begins with {word}; the steps are: {' '.join(STEPS)}")
        self.breakpoints = arm(chosen, self.show)
        replay.others.extend(self.breakpoints)
        if back:
            self.go_back()
        else:
            print(f"stopping at {len(chosen)} steps; `continue` goes to the next")

    @staticmethod
    def parse(argument):
        """Whether to go back, and the begin of the names of the steps that are meant."""
        words = argument.split()
        back = words[:1] == ["back"]
        words = words[1:] if back else words
        if len(words) > 1:
            raise gdb.GdbError("remap [back] [hvo|restore|promote], or remap off")
        return back, "".join(words)

    @staticmethod
    def go_back():
        gdb.execute("reverse-continue")
        if replay.position() == 0:
            print("there is no such step before: the begin of the recording is reached")

    def disarm(self):
        for breakpoint in self.breakpoints:
            breakpoint.delete()
        self.breakpoints = []
        replay.others.clear()

    @staticmethod
    def show(step):
        step.show()
        return True


def arm(names, on_step):
    """Breakpoints at these steps; `on_step` says for each step whether the machine stays halted."""
    return [StepBreakpoint(name, on_step) for name in names]
