//! How what two descriptors lead to compares: the part of the rule that is about memory.

use super::{Contents, NS, NS_TABLE, SOFTWARE};
use crate::addr::{ENTRIES_PER_TABLE, Level, PAGE_SIZE, PhysAddr};
use crate::pte::{Desc, Kind, PteFlags};

/// Memory, as far as the comparison needs it.
pub trait Ram {
    /// The descriptor at `at`; `None` where that is not RAM.
    fn desc(&self, at: PhysAddr) -> Option<Desc>;
    /// Whether two ranges of `bytes` bytes are both RAM and hold the same.
    fn equal(&self, a: PhysAddr, b: PhysAddr, bytes: u64) -> bool;
}

/// Rights that a table descriptor takes away from everything below it: PXNTable, UXNTable, APTable.
const TABLE_RIGHTS: u64 = 0xf << 59;
/// Output address bits of any descriptor, nT of a block among them.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Bits in which a leaf may differ from a smaller one and still translate alike: those that belong to the size,
/// and the access flag, without which nothing is held.
const OF_SIZE: PteFlags = PteFlags::TABLE_OR_PAGE.union(PteFlags::CONTIGUOUS).union(PteFlags::ACCESSED);

/// How what `old` leads to compares with what `new` leads to; both stand at `level`. What cannot be read differs.
#[must_use]
pub fn compare(old: Desc, new: Desc, level: Level, ram: &impl Ram) -> Contents {
    let alike = match (old.kind(level), new.kind(level)) {
        (Kind::Invalid, _) | (_, Kind::Invalid) => false,
        (Kind::Table, Kind::Table) => {
            same_space(old, new, NS_TABLE) && same_descriptors(old.output(level), new.output(level), ram)
        }
        (Kind::Table, _) => translates_alike(new, old, level, ram),
        (_, Kind::Table) => translates_alike(old, new, level, ram),
        (Kind::Block | Kind::Page, Kind::Block | Kind::Page) => {
            let (from, to) = (old.output(level), new.output(level));
            same_space(old, new, NS) && (from == to || ram.equal(from, to, level.entry_bytes()))
        }
    };
    if alike { Contents::Equal } else { Contents::Differ }
}

fn same_space(a: Desc, b: Desc, bit: u64) -> bool {
    (a.raw() ^ b.raw()) & bit == 0
}

fn same_descriptors(a: PhysAddr, b: PhysAddr, ram: &impl Ram) -> bool {
    let of = |table: PhysAddr, n| ram.desc(table.add(8 * n));
    (0..PAGE_SIZE / 8).all(|n| of(a, n).is_some_and(|desc| of(b, n) == Some(desc)))
}

/// Whether the leaves below `table` translate each address as `leaf` does; both stand at `level`.
fn translates_alike(leaf: Desc, table: Desc, level: Level, ram: &impl Ram) -> bool {
    let Some(below) = level.next() else { return false };
    let restricted = table.raw() & (TABLE_RIGHTS | NS_TABLE) != 0;
    !restricted
        && (0..ENTRIES_PER_TABLE as u64).all(|index| {
            let Some(desc) = ram.desc(table.output(level).add(8 * index)) else { return false };
            let output = leaf.output(level).add(index * below.entry_bytes());
            match desc.kind(below) {
                Kind::Invalid => false,
                Kind::Table => translates_alike(part_of(leaf, output), desc, below, ram),
                Kind::Block | Kind::Page => desc.output(below) == output && same_attributes(leaf, desc),
            }
        })
}

/// The block of the next level with the attributes of `leaf`.
fn part_of(leaf: Desc, output: PhysAddr) -> Desc {
    Desc::from_raw(leaf.raw() & !ADDRESS | output.raw())
}

/// Whether two leaves have the same attributes, those of the size apart.
fn same_attributes(a: Desc, b: Desc) -> bool {
    (a.raw() ^ b.raw()) & !(ADDRESS | OF_SIZE.bits() | SOFTWARE) == 0
}
