//! An entry of the kernel's tree cannot leave the closure that runs under its lock.

use arch::{Desc, Level, VirtAddr};
use mm::Mm;

fn leave(mm: &Mm, va: VirtAddr, new: Desc) {
    let entry = mm.with_kernel_tree(|tree, flusher| tree.entry(flusher, va, Level::L3));
    if let Ok(entry) = entry {
        entry.make(new);
    }
}

fn main() {}
