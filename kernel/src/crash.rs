//! Ways to end badly, on purpose: what a test of the reports needs.

use core::hint::black_box;

/// Runs over the end of this thread's stack.
pub fn overflow_stack() {
    black_box(descend(black_box(1)));
}

fn descend(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if room[0] == 0 { 0 } else { descend(black_box(depth + 1)) + black_box(&room)[63] }
}

/// Reads address 0 in the kernel.
pub fn read_null() {
    let null = core::ptr::without_provenance::<u64>(black_box(0));
    // SAFETY: the access faults, and the fault is what the caller wants to see.
    let value = unsafe { null.read_volatile() };
    panic!("the kernel has read {value:#x} at address 0");
}
