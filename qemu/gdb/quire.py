"""Loads Quire's commands into gdb: pt, page, vmemmap, remap. `help pt` and so on explain each."""

import os
import sys

import gdb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from quire import pages, remap, tables  # noqa: E402

gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set print asm-demangle on")

tables.PtCommand()
pages.PageCommand()
pages.VmemmapCommand()
remap.RemapCommand()
