//! Entries that go to another place of their tree: what mremap does instead of copying.
//!
//! ```text
//!   table A   [ . a b c . ]                   [ . . . . . ]   flush of the old addresses owed to the gather
//!                   |          relocate                       before that TLBs may hold both, and both lead
//!   table B   [ . . . . . ]  ------------->   [ . a b c . ]   to the same frames, with the same rights
//! ```
//! A leaf keeps the frame, the reference and the rights that it has; a descriptor of a table takes all that is below
//! with it, and a migration entry what it remembers. A folded group stays one where all of it goes to a place that is
//! aligned alike; otherwise it is unfolded first. An entry is never in anybody's hand meanwhile: it is taken out and
//! put in by one step under the tree's lock, so none can be lost, freed early, or put into another tree.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::addr::ENTRIES_PER_TABLE;
use arch::contiguous::{CONT_ENTRIES, group_bytes};
use arch::contract::Depth;
use arch::pte::Kind;
use arch::{Desc, DescTable, Level, Machine, PhysAddr, PhysMem, VirtAddr};

use super::entry::Entry;
use super::flush::{FlushRange, Flusher};
use super::gather::Gather;
use super::root::{Missing, PtRoot};
use super::walk::slot;

impl PtRoot {
    /// Moves `count` entries of `level`, those that translate the addresses from `from` on, to where the addresses from
    /// `to` on are translated. Nothing stands there. Returns how many of them held something. The flush of what TLBs
    /// hold of the old addresses is owed to `gather`, which ends before anybody may unmap or free what was moved.
    ///
    /// # Errors
    /// [`Missing`]: no table of this level translates one of the two; nothing has changed.
    ///
    /// # Panics
    /// Either run leaves its table, or something stands where an entry is to go.
    pub fn relocate(
        &mut self,
        flusher: Flusher<'_>,
        (from, to): (VirtAddr, VirtAddr),
        level: Level,
        count: usize,
        gather: &mut Gather<'_>,
    ) -> Result<usize, Missing> {
        let old_table = self.entry(flusher, from, level)?.table();
        let new_table = self.entry(flusher, to, level)?.table();
        let room = ENTRIES_PER_TABLE - from.index(level).max(to.index(level));
        assert!(count <= room, "{count} entries from {from} to {to} leave a table");
        let bytes = level.entry_bytes();
        let (mut moved, mut depth) = (0, Depth::LeafOnly);
        let (source, target) = (Machine::table(old_table), Machine::table(new_table));
        let (first, there) = (from.index(level), to.index(level));
        let entry = |table: PhysAddr, va: VirtAddr, n: usize| {
            let va = va.add(n as u64 * bytes);
            Entry::new(slot(table, level, va), level, va, flusher)
        };
        if level >= Level::L2 {
            let whole = whole_groups((from, to), level, count);
            let next = first.next_multiple_of(CONT_ENTRIES) - first;
            // One entry of each group says of all whether they are folded.
            let firsts = core::iter::once(0).chain((next..count).step_by(CONT_ENTRIES));
            for n in firsts.filter(|&n| !whole.contains(&(n as u64))) {
                entry(old_table, from, n).unfold();
            }
        }
        let (mut next, ends) = ((first, there), ((first + count).min(ENTRIES_PER_TABLE), ENTRIES_PER_TABLE));
        while next.0 < ends.0 && next.1 < ends.1 {
            let (old, new) = next;
            next = (old + 1, new + 1);
            let desc = source.read(old);
            if desc == Desc::INVALID {
                continue;
            }
            let held = target.read(new);
            assert!(held == Desc::INVALID, "{desc} moved to entry {new} for {to} on, which holds {held}");
            if cfg!(debug_assertions) {
                entry(old_table, from, old - first).verify(Desc::INVALID);
                entry(new_table, to, new - there).verify(desc);
            }
            source.write(old, Desc::INVALID);
            target.write(new, desc);
            moved += 1;
            if level != Level::L3 && desc.kind(level) == Kind::Table {
                depth = Depth::AllLevels;
            }
        }
        if moved != 0 {
            flusher.note_stores(2 * moved as u64, (from, level));
            flusher.publish();
            let level = (depth == Depth::LeafOnly).then_some(level);
            let start = from.align_down(bytes);
            gather.owe(flusher, FlushRange { start, end: start.add(count as u64 * bytes), level, depth });
        }
        Ok(moved)
    }
}

/// Which of `count` entries of `level` from `from` on are of groups that go wholly, to a place that is aligned as they are.
fn whole_groups((from, to): (VirtAddr, VirtAddr), level: Level, count: usize) -> Range<u64> {
    let (bytes, each) = (group_bytes(level), level.entry_bytes());
    if from.raw() % bytes != to.raw() % bytes {
        return 0..0;
    }
    let (first, end) = (from.align_down(each), from.align_down(each).add(count as u64 * each));
    let entry = |va: VirtAddr| va.raw().saturating_sub(first.raw()) / each;
    entry(first.align_up(bytes))..entry(end.align_down(bytes))
}
