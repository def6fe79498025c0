//! MADV_SPLIT, and taking leaves apart.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::contiguous::{CONT_ENTRIES, group_of};
use arch::pte::Kind;
use arch::{Desc, Level, Pfn, VirtAddr};

use crate::Mm;
use crate::config::{Contpte, Hgm};
use crate::mapcount;
use crate::page::page_of;
use crate::pgtable::{LooseTable, PtRoot, TableStock};
use crate::space::{AddressSpace, Grain, Vma, VmaKind, range};
use crate::trace::Point;

/// Why a leaf stays as large as it is, or some of it was split and this is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotSplit {
    /// Nothing maps the address, or what does is moving.
    NoLeaf,
    /// The stock has no table.
    NoTable,
    /// The folio has so many references or mappings that 511 more might overflow.
    Full(Pfn),
}

/// Which entries MADV_SPLIT permits in this VMA. `None` (EINVAL): it is not shared hugetlb memory, or the kernel was
/// booted without HGM.
#[must_use]
pub(crate) fn grain_after_split(mm: &Mm, vma: &Vma) -> Option<Grain> {
    match (vma.kind, mm.config.hgm) {
        (VmaKind::HugeShared(..), Hgm::Sizes) => Some(Grain::Any),
        (VmaKind::HugeShared(..), Hgm::Pages) => Some(Grain::Page),
        _ => None,
    }
}

/// Splits what maps `va`, in a VMA that permits it, until that is an entry of 4 KiB, or one of a folded group of those,
/// which whoever changes it alone unfolds. Takes up to two tables of `stock`. `tree` is the space's, under T; M may be
/// held or not. What is mapped stays mapped, with the same rights.
///
/// # Errors
/// [`NotSplit`]. What was split before stays split.
pub fn split_to_page(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    tree: &mut PtRoot,
    va: VirtAddr,
    stock: &mut TableStock<'_>,
) -> Result<(), NotSplit> {
    loop {
        let last = tree.last(va);
        match last.kind() {
            Kind::Page => return Ok(()),
            Kind::Block => split_block(mm, space, vma, tree, (va, last.level), stock)?,
            Kind::Table | Kind::Invalid => return Err(NotSplit::NoLeaf),
        }
    }
}

/// One block becomes a table of 512 leaves of the next level.
fn split_block(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    tree: &mut PtRoot,
    (va, level): (VirtAddr, Level),
    stock: &mut TableStock<'_>,
) -> Result<(), NotSplit> {
    let entry = tree.entry(space.flusher(mm), va, level).map_err(|_| NotSplit::NoLeaf)?;
    let block = entry.desc();
    let page = page_of(block.output(level).pfn());
    let head = page.head(mm.config.tails);
    let run = mapcount::Run { head, ..range::run_of(space, vma, &entry, page) };
    let mut table = stock.take().ok_or(NotSplit::NoTable)?;
    // The block's reference becomes one for each entry.
    let may_add = mapcount::may_add(mm, &run.pieces(table.address())).is_ok();
    if !may_add || !head.try_get_many(ENTRIES_PER_TABLE as u32 - 1) {
        mm.free_table(table);
        return Err(NotSplit::Full(head.pfn()));
    }
    fill(mm, &mut table, block, (va, level));
    mapcount::split(mm, &run, table.address());
    let link = table.link();
    entry.break_live::<1>(|_, _| ()).flush().make(|_| link, |_, _| ()).keep();
    mm.stats.note(Point::HgmSplit, 1, || [va.raw(), level as u64, 0, 0]);
    Ok(())
}

/// The leaves of the next level that map what the block does: folded groups, but for that of `va`, of which a part is
/// about to change.
fn fill(mm: &Mm, table: &mut LooseTable, block: Desc, (va, level): (VirtAddr, Level)) {
    let below = level.next().unwrap_or(level);
    let flags = block.alone().flags(level);
    let (first, plain) = (Desc::leaf(block.output(level), below, flags), group_of(va.index(below)));
    let folds = mm.config.contpte == Contpte::On;
    table.fill(|n| {
        let leaf = Desc::from_raw(first.raw() + n as u64 * below.entry_bytes());
        if folds && !plain.contains(&n) { leaf.in_group() } else { leaf }
    });
    if folds {
        mm.stats.note(Point::Fold, (ENTRIES_PER_TABLE / CONT_ENTRIES - 1) as u64, || [va.raw(), 0, 0, 0]);
    }
}

const _: () = assert!(Level::L3.entry_bytes() == PAGE_SIZE);
