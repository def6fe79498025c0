//! What is to be done with a list of folios: everything that was found and allocated before the first store.
//!
//! A strategy is given a [`Batch`], in which there is no [`crate::page::PageRef`]: addresses, frames and tables alone. So
//! what runs while entries are broken cannot touch a struct page.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::{Kind, PteFlags};
use arch::{Desc, DescTable, Level, Machine, Pfn, PhysAddr, PhysMem, VirtAddr};

use super::HvoError;
use super::frames::Frames;
use super::layout::Layout;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;
use crate::pgtable::{LooseTable, Run, walk};

/// How vmemmap is mapped where nobody shares it.
pub(crate) const OWN: PteFlags = PteFlags::KERNEL_RW;
/// How a shared page of tails is mapped.
pub(crate) const SHARED: PteFlags = PteFlags::KERNEL_RW.union(PteFlags::READ_ONLY);

/// One folio.
#[derive(Debug)]
pub struct Plan {
    pub(super) pfn: Pfn,
    pub(super) layout: Layout,
    /// What its tails share once it is optimised: the page of tails, or the page of its own head.
    pub(super) shared: PhysAddr,
    /// The word that its tails hold.
    pub(super) info: u64,
    /// Its own frames, one for each entry of its run: those that go, or those that come.
    pub(super) frames: Frames,
}

/// A block of vmemmap that has to give way to a table first.
#[derive(Debug)]
pub struct Split {
    pub(super) va: VirtAddr,
    pub(super) block: Desc,
    /// Filled; gone when it is linked. It stays where somebody else was faster.
    pub(super) table: Option<LooseTable>,
}

/// A list of folios, and what their remap needs.
#[derive(Debug)]
pub struct Batch {
    plans: Vec<Plan, KAlloc>,
    /// The entries of each of them, in the same order.
    runs: Vec<Run, KAlloc>,
    /// How many entries these are.
    entries: u64,
    splits: Vec<Split, KAlloc>,
    /// The entry of each of these, in the same order.
    blocks: Vec<Run, KAlloc>,
}

impl Batch {
    /// Nothing to do.
    pub(super) const fn new() -> Self {
        Batch {
            plans: Vec::new_in(KAlloc),
            runs: Vec::new_in(KAlloc),
            entries: 0,
            splits: Vec::new_in(KAlloc),
            blocks: Vec::new_in(KAlloc),
        }
    }
    /// Room for one more, so that it can be pushed for nothing.
    pub(super) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        let room = self.plans.try_reserve(1).and_then(|()| self.runs.try_reserve(1));
        room.map_err(|_| OutOfMemory)
    }
    /// Adds a plan for which there is room.
    pub(super) fn push(&mut self, plan: Plan) {
        let first = plan.layout.page(plan.pfn, plan.layout.kept());
        let entries = plan.layout.freed();
        self.entries += entries;
        self.runs.push(Run { first, entries });
        self.plans.push(plan);
    }
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }
    /// Entries that are to be changed.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }
    pub(super) fn plans(&self) -> &[Plan] {
        &self.plans
    }
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }
    pub(super) fn has_splits(&self) -> bool {
        !self.splits.is_empty()
    }
    /// The blocks that nobody has split yet, with the entries in which they stand. `is_block` is asked of each under the
    /// lock of the tree; those that are left come first.
    pub(super) fn blocks_left(&mut self, is_block: impl Fn(&Split) -> bool) -> (&mut [Split], &[Run]) {
        let mut left = 0;
        for n in 0..self.splits.len() {
            if is_block(&self.splits[n]) {
                self.splits.swap(left, n);
                self.blocks.swap(left, n);
                left += 1;
            }
        }
        (&mut self.splits[..left], &self.blocks[..left])
    }
    pub(super) fn into_parts(self) -> (Vec<Plan, KAlloc>, Vec<Split, KAlloc>) {
        (self.plans, self.splits)
    }

    /// Plans the splits of the blocks that map vmemmap of a folio, but for those that are planned.
    pub(super) fn plan_splits(&mut self, mm: &Mm, pfn: Pfn, layout: Layout) -> Result<(), OutOfMemory> {
        let planned = self.splits.len();
        let result = self.try_plan_splits(mm, pfn, layout);
        if result.is_err() {
            self.blocks.truncate(planned);
            let tables = self.splits.drain(planned..).filter_map(|split| split.table);
            tables.for_each(|table| mm.free_table(table));
        }
        result
    }

    fn try_plan_splits(&mut self, mm: &Mm, pfn: Pfn, layout: Layout) -> Result<(), OutOfMemory> {
        let bytes = Level::L2.entry_bytes();
        let (mut va, end) = (layout.page(pfn, 0).align_down(bytes), layout.page(pfn, layout.pages()));
        while va < end {
            let last = walk(mm.kernel_root(), va).last();
            if last.level == Level::L2 && !self.splits.iter().any(|split| split.va == va) {
                let room = self.splits.try_reserve(1).and_then(|()| self.blocks.try_reserve(1));
                room.map_err(|_| OutOfMemory)?;
                let mut table = mm.alloc_table()?;
                table.fill(|n| page_of_block(last.desc, n));
                self.splits.push(Split { va, block: last.desc, table: Some(table) });
                self.blocks.push(Run { first: va, entries: 1 });
            }
            va = va.add(bytes);
        }
        Ok(())
    }
}

/// The level-3 descriptor that maps page `n` of a level-2 block, with the block's rights.
fn page_of_block(block: Desc, n: usize) -> Desc {
    let pa = block.output(Level::L2).add(n as u64 * PAGE_SIZE);
    Desc::leaf(pa, Level::L3, block.flags(Level::L2).difference(PteFlags::NT))
}

/// Whether this is a leaf with just these rights. One that hardware may make writable (DBM) has others.
fn maps_by(desc: Desc, level: Level, rights: PteFlags) -> bool {
    desc.is_leaf(level) && desc == Desc::leaf(desc.output(level), level, rights)
}

/// Reads what maps the vmemmap pages of a folio that are to change, and tells `found` of it, a run of consecutive frames
/// at a time: all of it is mapped by `rights`. Returns the first address that a block maps, where one does. Without a
/// lock: nobody else changes what maps a frozen folio's vmemmap but by splitting a block of it, and no table of vmemmap
/// is ever given back.
///
/// # Errors
/// [`HvoError::Entry`]: an entry is not as it should be. What `found` says.
pub(super) fn survey(
    mm: &Mm,
    pfn: Pfn,
    layout: Layout,
    rights: PteFlags,
    mut found: impl FnMut(Pfn, u64) -> Result<(), OutOfMemory>,
) -> Result<Option<VirtAddr>, HvoError> {
    let mut block = None;
    let (mut va, end) = (layout.page(pfn, layout.kept()), layout.page(pfn, layout.pages()));
    while va < end {
        let last = walk(mm.kernel_root(), va).last();
        let index = va.index(Level::L3);
        let here = (end.offset_from(va) / PAGE_SIZE).min((ENTRIES_PER_TABLE - index) as u64);
        match last.desc.kind(last.level) {
            Kind::Block if last.level == Level::L2 && maps_by(last.desc, Level::L2, rights) => {
                block = block.or(Some(va));
                let first = last.desc.output(Level::L2).add(index as u64 * PAGE_SIZE);
                found(first.pfn(), here)?;
            }
            Kind::Page => {
                let table = Machine::table(PhysAddr::new(last.slot.raw() & !(PAGE_SIZE - 1)));
                for n in 0..here {
                    let desc = table.read(index + n as usize);
                    if !maps_by(desc, Level::L3, rights) {
                        return Err(HvoError::Entry(va.add(n * PAGE_SIZE), desc));
                    }
                    found(desc.output(Level::L3).pfn(), 1)?;
                }
            }
            _ => return Err(HvoError::Entry(va, last.desc)),
        }
        va = va.add(here * PAGE_SIZE);
    }
    Ok(block)
}
