"""The steps of a promotion or of an HVO remap, one by one.

The kernel calls one function of `mm::steps` after each step of a remap, with the entry before and after it. A
breakpoint on each shows the step, reads the entry back from physical memory, and says what is still owed."""

import struct

import gdb

from . import machine, tables

STEPS = [
    "promote_begin", "promote_break", "promote_flush", "promote_make", "promote_replace",
    "hvo_begin", "hvo_split_break", "hvo_split_flush", "hvo_split_make",
    "hvo_break", "hvo_flush", "hvo_make", "hvo_end",
    "restore_begin", "restore_break", "restore_flush", "restore_make", "restore_end",
]
OWED = ["nothing", "DSB ISHST, TLBI, DSB ISH, then the make", "the make", "DSB ISHST, TLBI, DSB ISH"]
# repr(C): kind, owed and level are a byte each, entries 32 bits at offset 4; four 64-bit words follow.
STEP_LAYOUT = "<BBBxIQQQQ"


class Step:
    """One step, as the kernel announced it."""

    def __init__(self, name, pointer):
        raw = bytes(gdb.selected_inferior().read_memory(pointer, struct.calcsize(STEP_LAYOUT)))
        _, owed, self.level, self.entries, self.va, self.slot, self.old, self.new = struct.unpack(STEP_LAYOUT, raw)
        self.name = name
        self.owed = OWED[owed]

    @property
    def stored(self):
        """Whether the step stored a descriptor: begin, flush and end do not."""
        return not self.name.endswith(("begin", "flush", "end"))

    def show(self):
        print(f"{self.name}: va {self.va:#x}, entry [{self.slot:#x}] of level {self.level}")
        if self.stored:
            print(f"  before {tables.describe(self.old, self.level)}")
            now = machine.read_descriptor(self.slot)
            print(f"  now    {tables.describe(now, self.level)}")
            if now != self.new:
                print(f"  NOT AS ANNOUNCED: {tables.describe(self.new, self.level)}")
        print(f"  owed   {self.owed}")


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
    """remap: stop at each step of every HVO remap and promotion from here on.

`remap` arms the stops; `continue` goes to the next step. `remap hvo`, `remap restore` and `remap promote` stop
at the steps of that name only. `remap off` disarms."""

    def __init__(self):
        super().__init__("remap", gdb.COMMAND_RUNNING)
        self.breakpoints = []

    def invoke(self, argument, _from_tty):
        word = argument.strip()
        self.disarm()
        if word == "off":
            return
        chosen = [name for name in STEPS if name.startswith(word)]
        if not chosen:
            raise gdb.GdbError(f"no step begins with {word}; the steps are: {' '.join(STEPS)}")
        self.breakpoints = arm(chosen, self.show)
        print(f"stopping at {len(chosen)} steps; `continue` goes to the next")

    def disarm(self):
        for breakpoint in self.breakpoints:
            breakpoint.delete()
        self.breakpoints = []

    @staticmethod
    def show(step):
        step.show()
        return True


def arm(names, on_step):
    """Breakpoints at these steps; `on_step` says for each step whether the machine stays halted."""
    return [StepBreakpoint(name, on_step) for name in names]
