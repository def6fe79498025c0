"""The replay of a recording (`make debug-reverse`): where it stands, its two ends, going back without being stopped.

QEMU counts instructions; a place in the recording is the number of those that came before it."""

import contextlib
import os
import re
import time

import gdb

LAST_FUNCTION = "arch::aarch64::semihost::exit"
NEEDED = "only a recording can go back: `make debug-reverse` makes one and begins gdb at its end"
# Of the recording's end, once it was seen.
end = None


def position():
    """How many instructions of the recording came before; an error where nothing is replayed."""
    try:
        answer = gdb.execute("monitor info replay", to_string=True)
    except gdb.error:
        answer = ""
    found = re.search(r"Replaying .* instruction count = (\d+)", answer)
    if not found:
        raise gdb.GdbError(NEEDED)
    return int(found.group(1))


def where(number):
    """A place in words."""
    return f"instruction {number}" + (f" of {end}" if end is not None else "")


# Breakpoints of other commands, which gdb does not list.
others = []


@contextlib.contextmanager
def alone():
    """No breakpoint stops the machine meanwhile."""
    stops = [stop for stop in list(gdb.breakpoints()) + others if stop.is_valid() and stop.enabled]
    for stop in stops:
        stop.enabled = False
    try:
        yield
    finally:
        for stop in stops:
            if stop.is_valid():
                stop.enabled = True


@contextlib.contextmanager
def silence():
    """gdb reports each stop to the terminal itself, and so also those of which the user shall not hear."""
    gdb.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        gdb.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def run(command):
    """Runs a command that moves the machine, in silence."""
    with silence():
        gdb.execute(command, to_string=True)


@contextlib.contextmanager
def before_the_end():
    """The machine stops before the instruction that would end it, and gdb with it."""
    last = gdb.Breakpoint(LAST_FUNCTION, internal=True)
    last.silent = True
    try:
        yield
    finally:
        last.delete()


def to_end():
    """Goes to the instruction that would end the machine."""
    global end
    if end is not None and position() >= end:
        return
    with alone(), before_the_end():
        run("continue")
    end = position()


def to_begin():
    """Goes to the first instruction."""
    if position() > 0:
        with alone():
            run("reverse-continue")


class ReplayCommand(gdb.Command):
    """replay [begin|end]: where the recording stands, or go to one of its ends.

A place is counted in instructions since the machine was switched on. `reverse-continue`, `reverse-stepi` and gdb's
others go back; each takes about as long as the machine takes from its begin to there. Beyond the end is nothing: the
machine is switched off."""

    def __init__(self):
        super().__init__("replay", gdb.COMMAND_RUNNING)

    def invoke(self, argument, _from_tty):
        word = argument.strip()
        if word not in ("", "begin", "end"):
            raise gdb.GdbError("replay, replay begin or replay end")
        position()
        began = time.monotonic()
        if word == "begin":
            to_begin()
        elif word == "end":
            to_end()
        took = f", {time.monotonic() - began:.1f} s" if word else ""
        print(f"{where(position())}{took}")
