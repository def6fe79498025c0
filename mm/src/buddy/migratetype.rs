//! Which memory can move: a type for each *pageblock* of 2 MiB, so that what cannot move gathers in few of them.
//!
//! One page table in the midst of 2 MiB of anonymous memory keeps those 2 MiB from ever becoming one block. So each
//! pageblock has a type, free blocks stand on the lists of the type of their pageblock, and a request is served from
//! the lists of its own type (Linux: `enum migratetype`).
//!
//! ```text
//!   [movable][movable][UNMOVABLE][movable][UNMOVABLE][movable]      one type for 2 MiB
//!     a.a.aa   .......   tt.ktt.    aaaa     kk.....   .a....
//! ```
//! | a request finds none of its own type | what it takes |
//! |---|---|
//! | unmovable | a free pageblock, which becomes unmovable; else from the largest block of a movable pageblock, which becomes unmovable if half of it is free |
//! | movable | from the smallest block of an unmovable pageblock, which stays so |
//!
//! A pageblock in which boot has left something is unmovable from the start. One that is wholly free is movable again:
//! nothing in it says otherwise. The type is where memory should come from, not what stands there; it is never relied
//! on for safety.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::{Order, Pfn};

use crate::boot::Frames;
use crate::boot::frames::FrameList;
use crate::error::OutOfMemory;
use crate::kalloc::{KAlloc, try_array};
use crate::page::PageKind;

/// The order of a pageblock: 2 MiB.
pub const PAGEBLOCK: Order = Order::PMD;

/// Number of types.
pub(super) const TYPES: usize = MigrateType::ALL.len();

/// What memory of a pageblock is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MigrateType {
    /// What can be moved to another frame.
    Movable,
    /// What cannot: tables, struct pages, the kernel's own memory.
    Unmovable,
}

impl MigrateType {
    /// Both, in the order of their numbers.
    pub const ALL: [MigrateType; 2] = [MigrateType::Movable, MigrateType::Unmovable];

    /// The type of a request for memory of this kind.
    #[must_use]
    #[inline]
    pub const fn of(kind: PageKind) -> Self {
        match kind {
            PageKind::Anon | PageKind::ThpReserved | PageKind::Hugetlb | PageKind::Shmem => {
                MigrateType::Movable
            }
            _ => MigrateType::Unmovable,
        }
    }

    /// The name, as in `/proc/pagetypeinfo`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            MigrateType::Movable => "Movable",
            MigrateType::Unmovable => "Unmovable",
        }
    }
}

/// The type of each pageblock. Stands inside the zone's lock. A frame outside of the banks is in no pageblock.
#[derive(Debug)]
pub(super) struct Pageblocks {
    /// The banks of RAM.
    banks: FrameList,
    /// A bit for each pageblock of each bank, in their order: set where it is unmovable.
    unmovable: Vec<u64, KAlloc>,
}

impl Pageblocks {
    /// Of so much RAM; all are movable.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn new(ram: &[Frames]) -> Result<Self, OutOfMemory> {
        let mut banks = FrameList::new_in(KAlloc);
        banks.try_reserve_exact(ram.len()).map_err(|_| OutOfMemory)?;
        banks.extend_from_slice(ram);
        let count: u64 = banks.iter().map(pageblocks_of).sum();
        let words = usize::try_from(count.div_ceil(64)).map_err(|_| OutOfMemory)?;
        Ok(Pageblocks { banks, unmovable: try_array(words, || 0)? })
    }

    /// The number of the pageblock that the frame lies in.
    fn number(&self, pfn: Pfn) -> Option<u64> {
        let mut before = 0;
        for bank in &self.banks {
            if bank.contains(pfn) {
                let first = bank.start.align_down(PAGEBLOCK);
                return Some(before + pfn.offset_from(first) / PAGEBLOCK.pages());
            }
            before += pageblocks_of(bank);
        }
        None
    }

    /// The frames of the pageblock that the frame lies in.
    pub(super) fn around(&self, pfn: Pfn) -> Frames {
        let all = Frames::new(pfn.align_down(PAGEBLOCK), PAGEBLOCK.pages());
        self.banks.iter().find(|bank| bank.contains(pfn)).map_or(Frames::new(pfn, 0), |bank| bank.meet(all))
    }

    /// The type of the pageblock that the frame lies in.
    pub(super) fn of(&self, pfn: Pfn) -> MigrateType {
        let word =
            |n: u64| self.unmovable.get((n / 64) as usize).is_some_and(|word| word >> (n % 64) & 1 != 0);
        if self.number(pfn).is_some_and(word) { MigrateType::Unmovable } else { MigrateType::Movable }
    }

    /// Sets the type of the pageblock that the frame lies in.
    pub(super) fn set(&mut self, pfn: Pfn, to: MigrateType) {
        let Some(n) = self.number(pfn) else { return };
        if let Some(word) = self.unmovable.get_mut((n / 64) as usize) {
            *word = *word & !(1 << (n % 64)) | u64::from(to == MigrateType::Unmovable) << (n % 64);
        }
    }

    /// How many pageblocks are unmovable.
    pub(super) fn unmovable(&self) -> u64 {
        self.unmovable.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// How many pageblocks a bank has a part of.
fn pageblocks_of(bank: &Frames) -> u64 {
    let frames = bank.end.offset_from(bank.start.align_down(PAGEBLOCK));
    frames.div_ceil(PAGEBLOCK.pages())
}
