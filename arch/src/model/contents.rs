//! What descriptors lead to, in RAM, now; and whether leaves of two sizes translate alike.

use super::ram::Ram;
use crate::addr::{Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::bbm;
use crate::pte::{Desc, Kind, PteFlags};

impl bbm::Ram for Ram {
    fn desc(&self, at: PhysAddr) -> Option<Desc> {
        self.contains(at, 8).then(|| self.load(at))
    }
    fn equal(&self, a: PhysAddr, b: PhysAddr, bytes: u64) -> bool {
        self.contains(a, bytes) && self.contains(b, bytes) && self.same(a, b, bytes)
    }
}

/// Whether two leaves of different levels have the same attributes, apart from those that belong to the size.
fn same_rights(a: Desc, a_level: Level, b: Desc, b_level: Level) -> bool {
    let of_size = PteFlags::TABLE_OR_PAGE | PteFlags::CONTIGUOUS | PteFlags::NT | PteFlags::ACCESSED;
    (a.flags(a_level) ^ b.flags(b_level)).difference(of_size).is_empty()
}

/// A leaf and the first address that it translates.
#[derive(Clone, Copy)]
pub(super) struct LeafAt {
    pub(super) desc: Desc,
    pub(super) level: Level,
    pub(super) va: VirtAddr,
}

/// Whether two leaves of different sizes translate the addresses that they share alike.
pub(super) fn leaves_alike(large: LeafAt, small: LeafAt) -> bool {
    let within = small.va.offset_from(large.va);
    same_rights(large.desc, large.level, small.desc, small.level)
        && small.desc.output(small.level) == large.desc.output(large.level).add(within)
}

/// The leaf that translates `va` from `root`.
pub(super) fn leaf_at(ram: &Ram, root: PhysAddr, va: VirtAddr) -> Option<LeafAt> {
    let desc = ram.load(root.add(8 * va.index(Level::L0) as u64));
    match desc.kind(Level::L0) {
        Kind::Table => leaf_below(ram, desc, Level::L0, va),
        _ => None,
    }
}

/// The leaf below the table descriptor `table` of `level` that translates `va`.
pub(super) fn leaf_below(ram: &Ram, table: Desc, level: Level, va: VirtAddr) -> Option<LeafAt> {
    let (page, below) = (table.output(level), level.next()?);
    if !ram.contains(page, PAGE_SIZE) {
        return None;
    }
    let desc = ram.load(page.add(8 * va.index(below) as u64));
    match desc.kind(below) {
        Kind::Invalid => None,
        Kind::Table => leaf_below(ram, desc, below, va),
        Kind::Block | Kind::Page => {
            Some(LeafAt { desc, level: below, va: va.align_down(below.entry_bytes()) })
        }
    }
}
