"""Where the machine is in the program: functions by their paths, with those that the compiler has put into others."""

import gdb

from . import machine


def path(name):
    """A function's path without the parameters of its generics, and without the `{impl#n}` of its block."""
    kept, depth, last = [], 0, ""
    for letter in name:
        if letter == "<":
            depth += 1
        elif letter == ">" and last != "-":
            depth -= 1
        elif depth == 0:
            kept.append(letter)
        last = letter
    parts = [part for part in "".join(kept).split("::") if part and not part.startswith("{impl#")]
    return "::".join(parts)


def place(frame):
    """FILE:LINE of what the frame is about, or nothing where the program does not say."""
    found = frame.find_sal()
    if found.symtab is None:
        return ""
    return f"{found.symtab.filename}:{found.line}"


class Call:
    """One function on the way to where the machine is: an inlined one, or one with a frame of its own."""

    def __init__(self, frame):
        name = frame.name()
        self.path = path(name) if name else f"{frame.pc():#x}"
        self.place = place(frame)
        self.inlined = frame.type() == gdb.INLINE_FRAME

    def __str__(self):
        words = [self.path, self.place, "(inlined)" if self.inlined else ""]
        return "  ".join(word for word in words if word)


def calls():
    """The functions that the machine is in, the innermost first, to where its thread begins."""
    found, frame = [], gdb.newest_frame()
    while frame is not None and frame.is_valid() and (not found or frame.pc() != 0):
        found.append(Call(frame))
        try:
            frame = frame.older()
        except gdb.error:
            break
    return found


def instruction(pc):
    """The instruction at an address, as gdb writes it."""
    line = gdb.selected_inferior().architecture().disassemble(pc)[0]["asm"]
    return " ".join(line.split())


def here():
    """The address of the next instruction."""
    return machine.register("pc")
