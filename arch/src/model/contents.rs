//! How what two descriptors lead to compares, in RAM, now.

use super::ram::Ram;
use super::tables::entries;
use crate::addr::{Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::bbm::Contents;
use crate::pte::{Desc, Kind, PteFlags};

/// Compares two descriptors of `level`.
pub(super) fn compare(ram: &Ram, old: Desc, new: Desc, level: Level) -> Contents {
    let (from, to) = (old.output(level), new.output(level));
    let same_bytes = |bytes| {
        let in_ram = ram.contains(from, bytes) && ram.contains(to, bytes);
        from == to || (in_ram && ram.equal(from, to, bytes))
    };
    let equal = match (old.kind(level), new.kind(level)) {
        (Kind::Invalid, _) | (_, Kind::Invalid) => false,
        (Kind::Table, Kind::Table) => same_bytes(PAGE_SIZE),
        (Kind::Table, _) => table_like_leaf(ram, new, old, level),
        (_, Kind::Table) => table_like_leaf(ram, old, new, level),
        _ => same_bytes(level.entry_bytes()),
    };
    if equal { Contents::Equal } else { Contents::Differ }
}

/// Whether the leaves below `table` translate each address as `leaf` does; both stand at `level`.
fn table_like_leaf(ram: &Ram, leaf: Desc, table: Desc, level: Level) -> bool {
    let (Some(below), page) = (level.next(), table.output(level)) else { return false };
    ram.contains(page, PAGE_SIZE)
        && entries(ram, page).enumerate().all(|(index, (_, desc))| {
            let output = leaf.output(level).add(index as u64 * below.entry_bytes());
            match desc.kind(below) {
                Kind::Invalid => false,
                Kind::Table => {
                    table_like_leaf(ram, Desc::leaf(output, below, leaf.flags(level)), desc, below)
                }
                Kind::Block | Kind::Page => {
                    desc.output(below) == output && same_rights(leaf, level, desc, below)
                }
            }
        })
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
