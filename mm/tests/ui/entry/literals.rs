//! None of the states can be made up: entries come from a tree, broken ones from entries, clean ones from a flush.

use arch::{Desc, Level, PhysAddr, VirtAddr};
use mm::pgtable::{Broken, Clean, Entry, Flusher};

fn make_up(slot: PhysAddr, va: VirtAddr, flusher: Flusher<'static>, entry: Entry<'static>) {
    let _ = Entry { slot, level: Level::L3, va, flusher };
    let _ = Broken { first: entry, old: [Desc::INVALID] };
}

fn make_clean(entry: Entry<'static>) {
    let _ = Clean { first: entry };
}

fn main() {}
