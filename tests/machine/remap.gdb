# Batch session of the trials `debug::remap`: steps the tour's HVO remap and its restore from one named step to the
# next, walks the address of each step's entry in the live tables, and stops at the end of the restore.
remap
python
seen = ""
while seen != "restore_end":
    gdb.execute("continue")
    frame = gdb.selected_frame().function()
    seen = frame.name.split("::")[-1] if frame else ""
    if seen in ("hvo_begin", "hvo_end", "restore_end"):
        step = gdb.parse_and_eval("$x0")
        address = int.from_bytes(gdb.selected_inferior().read_memory((int(step) & (1 << 64) - 1) + 8, 8).tobytes(), "little")
        print(f"walk at {seen}")
        gdb.execute(f"pt {address:#x}")
end
# Not `kill`: QEMU may be gone before gdb has its answer. The trial ends the machine.
detach
