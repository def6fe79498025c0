"""Loads Quire's commands into gdb (docs/gdb.md): `help pt` and so on explain each. And the printers of its types."""

import os
import sys

import gdb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from quire import cost, pages, printers, remap, replay, reservations, tables, writer  # noqa: E402

gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set print asm-demangle on")
# The kernel's code is as in its file, and can be read where the machine is not in the kernel.
gdb.execute("set trust-readonly-sections on")

tables.PtCommand()
pages.PageCommand()
pages.FolioCommand()
pages.VmemmapCommand()
reservations.ReservationsCommand()
remap.RemapCommand()
replay.ReplayCommand()
writer.WhoWroteCommand()
cost.CostCommand()
printers.register()
