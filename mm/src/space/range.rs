//! Walks over a range of a live tree: what a call on a range does to what is mapped there.
//!
//! `scan` visits every entry that the range has, from the lowest address up, a stretch of one table at a time: leaves,
//! and invalid entries. One invalid level-1 entry passes 1 GiB, so an empty terabyte costs two stretches of 512. The
//! page-table lock is let go after each stretch; M keeps the caller's range as it is.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, Machine, Order, PageSize, PhysAddr, PhysMem, VirtAddr};

use super::rights::Rights;
use super::{AddressSpace, Prot, Vma};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::mapcount::Run;
use crate::page::PageRef;
use crate::pgtable::walk::is_empty;
use crate::pgtable::{Entry, Gather, PtRoot, Stretch, WalkStep};

/// Visits every entry of `[start, end)` that is no table, by stretches of one table. The page-table lock is held for
/// one stretch at a time.
pub(super) fn scan(
    mm: &Mm,
    space: &AddressSpace,
    start: VirtAddr,
    end: VirtAddr,
    mut visit: impl FnMut(&mut Stretch<'_>),
) {
    let mut va = start;
    while va < end {
        let mut tree = space.ptl.lock();
        let mut stretch = tree.stretch(space.flusher(mm), va, end);
        visit(&mut stretch);
        va = stretch.end();
    }
}

/// No block may be cut by the range: they were split.
pub(super) fn assert_whole(stretch: &Stretch<'_>, start: VirtAddr, end: VirtAddr) {
    let (from, to) = (stretch.start(), stretch.end());
    assert!(stretch.is_within(start, end), "a block between {from} and {to} is cut by {start} or {end}");
}

/// Splits the blocks that an end of `[start, end)` cuts, so that each leaf is wholly in the range or out of
/// it. M is held for writing.
///
/// # Errors
/// [`OutOfMemory`]: no table for the pieces. What was split stays split, which nobody can see.
pub(super) fn split_edges(
    mm: &Mm,
    space: &AddressSpace,
    start: VirtAddr,
    end: VirtAddr,
) -> Result<(), OutOfMemory> {
    for va in [start, end] {
        crate::thp::split::split_at(mm, space, va)?;
    }
    Ok(())
}

/// Gives up the reservations of huge pages that an end of `[start, end)` cuts: the two sides will differ.
pub(super) fn release_cut_reservations(mm: &Mm, space: &AddressSpace, start: VirtAddr, end: VirtAddr) {
    let bytes = PageSize::Size2M.bytes();
    for va in [start, end] {
        if !va.is_aligned(bytes) {
            let block = va.align_down(bytes);
            crate::thp::reservation::release_range(mm, space, block, block.add(bytes));
        }
    }
}

/// One entry, in `vma`, that maps a part of a folio from `page` on: what is counted when it is made or cleared.
#[inline]
pub(crate) fn run_of(space: &AddressSpace, vma: &Vma, entry: &Entry<'_>, page: PageRef) -> Run {
    Run {
        head: page,
        first: page,
        entries: 1,
        level: entry.level(),
        table: entry.table(),
        top: entry.table(),
        va: entry.va(),
        space: space.id,
        owner: space.owner,
        vma: (vma.start, vma.end),
    }
}

/// The table behind the entry of the folio's own size, where that is another one than the table in which an entry of
/// `level` for `va` stands, or is to stand: for pages of a folio of 1 GiB, a level-2 table of `tree`.
pub(crate) fn top_above(tree: &PtRoot, head: PageRef, level: Level, va: VirtAddr) -> Option<PhysAddr> {
    let is_far = level == Level::L3 && head.order() == Order::PUD;
    is_far.then(|| giant_top(tree.walk(va).steps())).flatten()
}

/// The level-2 table on the way that these steps go.
pub(super) fn giant_top(steps: &[WalkStep]) -> Option<PhysAddr> {
    let above = steps.iter().find(|step| step.level == Level::L1)?;
    (above.kind() == Kind::Table).then(|| above.desc.output(Level::L1))
}

/// The level-3 table that translates the address. Under T.
pub(super) fn leaf_table(tree: &PtRoot, va: VirtAddr) -> Option<PhysAddr> {
    let last = tree.walk(va).last();
    (last.level == Level::L3).then(|| PhysAddr::new(last.slot.raw() & !(PAGE_SIZE - 1)))
}

/// Gives every leaf of `[start, end)` the rights of `prot`, but for writing to a page that is not exclusive: that is
/// for a write to ask for. M is held for writing, and no block is cut by the range.
///
/// The flush that `gather` owes covers leaves that got more and leaves that got fewer rights: a TLB may hold the old
/// permission of either kind, and one that grants too little would fault for ever.
pub(super) fn protect(
    mm: &Mm,
    space: &AddressSpace,
    start: VirtAddr,
    end: VirtAddr,
    prot: Prot,
    gather: &mut Gather<'_>,
) {
    let mut rights = Rights::new(mm, prot);
    scan(mm, space, start, end, |stretch| {
        assert_whole(stretch, start, end);
        rights.begin(stretch.level());
        stretch.change(gather, &mut rights);
        stretch.fold(mm);
    });
}

/// The leaf of `level` for a frame in a VMA with these rights. The page of zeros is special and never writable.
#[inline]
pub(crate) fn leaf_for(mm: &Mm, frame: PhysAddr, level: Level, prot: Prot) -> Desc {
    let zeros = match level {
        Level::L3 => mm.zero_page.is_at(frame),
        _ => mm.huge_zero.is_at(frame),
    };
    if zeros {
        leaf(frame, level, prot.leaf_flags() | PteFlags::READ_ONLY | PteFlags::SPECIAL)
    } else {
        leaf_of_page(frame, level, prot)
    }
}

/// As [`leaf_for`], for a frame that is none of the pages of zeros.
#[inline]
pub(crate) fn leaf_of_page(frame: PhysAddr, level: Level, prot: Prot) -> Desc {
    leaf(frame, level, prot.leaf_flags())
}

#[inline]
fn leaf(frame: PhysAddr, level: Level, flags: PteFlags) -> Desc {
    ready(Desc::leaf(frame, level, flags), level)
}

/// The leaf. A frame that may be executed is made ready for that: some CPU's instruction cache may hold what it held
/// before.
#[inline]
pub(super) fn ready(leaf: Desc, level: Level) -> Desc {
    if leaf.user_exec() {
        Machine::sync_icache(leaf.output(level), level.entry_bytes());
    }
    leaf
}

/// How many entries of `[start, end)` hold something: leaves, those that are moving among them, and markers.
pub(crate) fn count_entries(mm: &Mm, space: &AddressSpace, start: VirtAddr, end: VirtAddr) -> u64 {
    let mut entries = 0;
    scan(mm, space, start, end, |stretch| {
        entries += stretch.descs().filter(|desc| !desc.is_empty()).count() as u64;
    });
    entries
}

/// Bytes that a table of `level` covers.
pub(super) fn table_bytes(level: Level) -> u64 {
    level.entry_bytes() * ENTRIES_PER_TABLE as u64
}

/// Takes away the tables below `level` that translate `[start, end)`, multiples of what an entry of `level` covers, and
/// hold nothing, so that a leaf may stand there: a fault that ran out of memory half-way leaves such tables, and so
/// does a range that was unmapped while its neighbour had a share in them. They are flushed when this returns. M is
/// held, and nothing comes to be mapped there meanwhile.
pub(crate) fn clear_empty_tables(
    mm: &Mm,
    space: &AddressSpace,
    level: Level,
    (start, end): (VirtAddr, VirtAddr),
) {
    mm.gather(space.tag(), |gather| {
        let mut va = start;
        while va < end {
            let mut tree = space.ptl.lock();
            let mut stretch = tree.stretch(space.flusher(mm), va, end);
            let next = stretch.end();
            if stretch.level() > level {
                prune(mm, space, stretch.tree(), va, gather);
            }
            va = next;
        }
    });
}

/// Takes the tables that translate `va` away as far as they hold nothing, the lowest first.
pub(super) fn prune(mm: &Mm, space: &AddressSpace, tree: &mut PtRoot, va: VirtAddr, gather: &mut Gather<'_>) {
    for pair in tree.walk(va).steps().windows(2).rev() {
        let above = pair[0];
        if !is_empty(above.desc.output(above.level)) {
            return;
        }
        if let Ok(entry) = tree.entry(space.flusher(mm), va, above.level) {
            let table = entry.clear(gather);
            gather.hold(table);
        }
    }
}
