"""What a function of the kernel costs, in instructions, by the room (crate::module) whose code they are.

QEMU writes down every instruction between the function's first one and its return. An instruction belongs to the
innermost function of ours in whose source it stands, inlined or not: what a library does, it does for its caller."""

import os
import re
import tempfile

import gdb

from . import machine, replay

ROOM = re.compile(r"(?:^|/)(arch|mm|kernel)/src/([a-z_0-9]+)")
EXECUTED = re.compile(r"^Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/")
STOPPED = "Stopped execution"
# Vectors by their place in the table (Arm ARM D1.3.1).
KERNEL_SYNC, KERNEL_IRQ, USER_SYNC = 0x200, 0x280, 0x400
# Exception classes of ESR: an abort of EL0, instruction or data.
ABORTS = (0x20, 0x24)
ERET = 0xD69F03E0


def room_of(source):
    """crate::module of a source of ours; None for one of a library."""
    if "/registry/" in source or "/library/" in source:
        return None
    found = ROOM.search(source)
    return f"{found.group(1)}::{found.group(2)}" if found else None


def room(pc):
    """The room of an instruction; of assembly its label, of what else is not ours its crate."""
    block = gdb.block_for_pc(pc)
    while block is not None:
        if block.function is not None and block.function.symtab is not None:
            found = room_of(block.function.symtab.filename)
            if found:
                return found
        block = block.superblock
    label = machine.label(pc)
    return re.sub(r"\[[0-9a-f]+\]", "", label).strip("<").split("::")[0]


class Log:
    """QEMU's log of the instructions that run while this is open."""

    def __enter__(self):
        handle, self.path = tempfile.mkstemp(prefix="quire-cost-")
        os.close(handle)
        self.monitor(f"logfile {self.path}")
        # One of the two is the name that this QEMU has for it.
        self.monitor("singlestep on")
        self.monitor("one-insn-per-tb on")
        self.monitor("log exec,nochain")
        return self

    def __exit__(self, failed, *_):
        if not failed:
            self.monitor("log none")
            self.monitor("singlestep off")
            self.monitor("one-insn-per-tb off")
            self.monitor("logfile /dev/null")
        with open(self.path, encoding="ascii", errors="replace") as file:
            self.instructions = read(file)
        os.unlink(self.path)

    @staticmethod
    def monitor(words):
        gdb.execute(f"monitor {words}", to_string=True)


def read(lines):
    """The addresses that were executed: a line that says so may be taken back by the next."""
    found = []
    for line in lines:
        match = EXECUTED.match(line)
        if match:
            found.append(int(match.group(1), 16))
        elif line.startswith(STOPPED) and found:
            found.pop()
    return found


class Stop(gdb.Breakpoint):
    """A breakpoint at an address that nobody sees, where a condition in Python may hold."""

    def __init__(self, address, condition=None):
        super().__init__(f"*{address:#x}", internal=True)
        self.silent = True
        self.condition_here = condition
        self.reached = False

    def stop(self):
        self.reached = self.condition_here is None or self.condition_here()
        return self.reached


def run_to(address, condition=None):
    """Lets the machine run until it is there; an error if it does not come there."""
    with replay.alone(), replay.before_the_end():
        stop = Stop(address, condition)
        try:
            replay.run("continue")
        finally:
            stop.delete()
    if not stop.reached:
        raise gdb.GdbError(f"the machine ends, or was stopped, before it comes to {address:#x}")


def entry_of(name):
    """The first instruction of a function that has one of its own."""
    try:
        places = gdb.decode_line(name)[1] or ()
    except gdb.error as error:
        raise gdb.GdbError(str(error)) from None
    entries = set()
    for place in places:
        block = gdb.block_for_pc(place.pc)
        while block is not None and block.function is None:
            block = block.superblock
        if block is not None and not is_inlined(block, place.pc):
            entries.add(block.start)
    if not entries:
        raise gdb.GdbError(f"{name} has no code of its own: the compiler has put it into its callers")
    if len(entries) > 1:
        raise gdb.GdbError(f"{name} has {len(entries)} bodies, one for each type; give the address of one: *0x...")
    return entries.pop()


def is_inlined(block, pc):
    """Whether a function's block is one within another function."""
    outer = block.superblock
    while outer is not None:
        if outer.function is not None:
            return True
        outer = outer.superblock
    return False


class Call:
    """One run of a function, or of a fault of EL0, without the interrupts that came into it."""

    def __init__(self, executed):
        vectors = machine.symbol("quire_vectors")
        self.entries, self.end = (vectors + KERNEL_SYNC, vectors + KERNEL_IRQ), end_of("from_kernel")
        self.switch = machine.symbol("quire_switch")
        self.interrupts, self.torn, self.instructions = 0, False, []
        self.leave_interrupts_out(executed, vectors + KERNEL_IRQ)

    def leave_interrupts_out(self, executed, irq):
        """What is between the vector of an interrupt and the return from it is not the function's. If a thread was
        switched there, nobody can tell which return it is: the call is torn."""
        depth = 0
        for pc in executed:
            if pc == irq or depth and pc in self.entries:
                self.interrupts += depth == 0
                depth += 1
            if depth == 0:
                self.instructions.append(pc)
            elif pc == self.end:
                depth -= 1
            elif pc == self.switch:
                self.torn = True

    def rooms(self):
        known, counts = {}, {}
        for pc in self.instructions:
            if pc not in known:
                known[pc] = room(pc)
            counts[known[pc]] = counts.get(known[pc], 0) + 1
        return counts


def call_of(entry):
    """Runs to the next call of the function at `entry`, and through it."""
    if machine.register("pc") != entry:
        run_to(entry)
    back, depth = machine.register("x30"), machine.register("sp")
    with Log() as log:
        run_to(back, lambda: machine.register("sp") == depth)
    return Call(log.instructions)


def fault():
    """Runs to the next abort of EL0, and through it: from the vector to the return, which is counted."""
    run_to(machine.symbol("quire_vectors") + USER_SYNC, lambda: machine.register("ESR_EL1") >> 26 in ABORTS)
    with Log() as log:
        run_to(end_of("quire_run_user"))
        replay.run("stepi")
    return Call(log.instructions)


def end_of(name):
    """The first `eret` of a piece of assembly."""
    address = machine.symbol(name)
    for n in range(256):
        word = bytes(gdb.selected_inferior().read_memory(address + 4 * n, 4))
        if int.from_bytes(word, "little") == ERET:
            return address + 4 * n
    raise gdb.GdbError(f"{name} has no eret")


def show(name, calls):
    whole = [call for call in calls if not call.torn]
    if not whole:
        torn = f"a thread was switched in each of {len(calls)} calls"
        raise gdb.GdbError(f"{torn}; ask for more: cost {name} {4 * len(calls)}")
    least = min(whole, key=lambda call: (call.interrupts, len(call.instructions)))
    counts = least.rooms()
    for where, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"  {count:>8}  {where}")
    print(f"  {sum(counts.values()):>8}  in all")
    if least.interrupts:
        print(f"  {least.interrupts} interrupts came into it, and are left out")
    if len(calls) > 1:
        print(f"  the cheapest of {len(calls)} calls")


class CostCommand(gdb.Command):
    """cost FUNCTION [N], cost fault [N]: count the instructions of the next N calls (1) by the rooms of the kernel.

Lets the machine run to the next call of FUNCTION (a path, or *ADDRESS) and through it, and prints how many
instructions each room, crate::module, had in it; of N calls the cheapest, if possible one that no interrupt has met.
`cost fault` takes a page fault of a program instead, from the vector to the return. Of a function that sleeps, what
others do meanwhile is counted too. On one CPU only."""

    def __init__(self):
        super().__init__("cost", gdb.COMMAND_RUNNING)

    def invoke(self, argument, _from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) not in (1, 2):
            raise gdb.GdbError("cost FUNCTION [N], or cost fault [N]")
        if len(gdb.selected_inferior().threads()) != 1:
            raise gdb.GdbError("instructions are counted on a machine of one CPU: SMP=1")
        count = machine.number(words[1]) if len(words) == 2 else 1
        if not 0 < count <= 1000:
            raise gdb.GdbError(f"{count} calls: from 1 to 1000 can be counted")
        name = words[0]
        entry = None if name == "fault" else machine.number(name[1:]) if name.startswith("*") else entry_of(name)
        calls = [fault() if entry is None else call_of(entry) for _ in range(count)]
        show(name, calls)
