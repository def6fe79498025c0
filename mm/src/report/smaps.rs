//! `/proc/<pid>/smaps`: a record for each VMA; `/proc/<pid>/smaps_rollup`: the sums of them.
//!
//! The rows are Linux's, in its order. Rows of which nothing exists here are 0: nothing is merged (KSM), freed later
//! (LazyFree), swapped or locked, and no file is mapped. All resident memory is dirty: there is no other copy of it.
#![forbid(unsafe_code)]

use core::fmt;

use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;
use arch::{Access, PageSize, VirtAddr};

use super::leaves::Reading;
use super::lines::Lines;
use super::maps;
use super::sizes::{Sizes, Tally};
use super::table::Table;
use super::vm_flags;
use crate::Mm;
use crate::space::{AddressSpace, Vma, VmaKind};
use crate::thp::policy::{self, Backing};

impl Mm {
    /// Writes the record of the first VMA that ends above `from`, and returns where that VMA ends: the place of the
    /// next record. `None`: there is no such VMA. `stack` is an address of the process's first stack. Takes M for
    /// reading, so it may sleep; M is free again when the sink is called.
    ///
    /// # Errors
    /// The sink's; how much it got is its own to know.
    pub fn write_smaps(
        &self,
        space: &AddressSpace,
        stack: VirtAddr,
        from: VirtAddr,
        out: &mut dyn fmt::Write,
    ) -> Result<Option<VirtAddr>, fmt::Error> {
        let mmap = space.mmap_lock.read(self.env);
        let Some(vma) = space.find_vma(from) else { return Ok(None) };
        let mut tally = Tally::new(self);
        tally.add(space, vma.start, vma.end, Reading::Locked);
        let (sizes, name) = (tally.sizes(), maps::name(space, &vma, stack));
        drop(mmap);
        let mut to = Lines::new(out);
        maps::line(&mut to, &vma, name.as_ref())?;
        to.finish()?;
        let granule = vma.kind.granule();
        RECORD.write(record(vma.bytes(), granule, &sizes), out)?;
        let mut to = Lines::new(out);
        to.text("THPeligible:    ")?;
        to.decimal(u64::from(eligible(self, space, &vma)), 8)?;
        to.ascii(b'\n')?;
        vm_flags::row(&mut to, &vma)?;
        to.finish()?;
        Ok(Some(vma.end))
    }

    /// Writes the sums of all VMAs; nothing where there are none. Takes M for reading, so it may sleep.
    ///
    /// # Errors
    /// The sink's.
    pub fn write_smaps_rollup(&self, space: &AddressSpace, out: &mut dyn fmt::Write) -> fmt::Result {
        let mmap = space.mmap_lock.read(self.env);
        let (mut ends, mut tally) = (None, Tally::new(self));
        space.for_each_vma(|vma| {
            let (start, _) = ends.unwrap_or((vma.start, vma.end));
            ends = Some((start, vma.end));
            tally.add(space, vma.start, vma.end, Reading::Locked);
        });
        let sizes = tally.sizes();
        drop(mmap);
        let Some((start, end)) = ends else { return Ok(()) };
        let mut to = Lines::new(out);
        maps::rollup_line(&mut to, start, end)?;
        to.finish()?;
        ROLLUP.write(rollup(&sizes), out)
    }

    /// What `[start, end)` of a space maps. With [`Reading::Locked`] the caller holds no spinlock; what it holds of M
    /// decides how much changes between two tables.
    #[must_use]
    pub fn sizes(&self, space: &AddressSpace, start: VirtAddr, end: VirtAddr, reading: Reading) -> Sizes {
        let mut tally = Tally::new(self);
        tally.add(space, start, end, reading);
        tally.sizes()
    }

    /// What a space maps, by a look that takes no lock and makes nobody wait; see [`super::Reading::LockFree`]. All
    /// zero once the space has ended.
    #[must_use]
    pub fn glance(&self, space: &AddressSpace) -> Sizes {
        self.sizes(space, VirtAddr::new(0), USER_END, Reading::LockFree)
    }
}

/// Rows of which a record and the rollup have each its own, at the beginning.
const OWN: usize = 6;
/// Rows of each.
const ROWS: usize = OWN + COMMON.len();

/// The rows that both close with (Linux: `__show_smap`).
const COMMON: [&str; 16] = [
    "Shared_Clean:",
    "Shared_Dirty:",
    "Private_Clean:",
    "Private_Dirty:",
    "Referenced:",
    "Anonymous:",
    "KSM:",
    "LazyFree:",
    "AnonHugePages:",
    "ShmemPmdMapped:",
    "FilePmdMapped:",
    "Shared_Hugetlb:",
    "Private_Hugetlb:",
    "Swap:",
    "SwapPss:",
    "Locked:",
];

/// The rows of a record up to THPeligible (Linux: `show_smap`).
const RECORD: Table<ROWS> =
    Table::new(with_common(["Size:", "KernelPageSize:", "MMUPageSize:", "Rss:", "Pss:", "Pss_Dirty:"]));

/// The rows of the rollup (Linux: `show_smaps_rollup`).
const ROLLUP: Table<ROWS> =
    Table::new(with_common(["Rss:", "Pss:", "Pss_Dirty:", "Pss_Anon:", "Pss_File:", "Pss_Shmem:"]));

const fn with_common(own: [&'static str; OWN]) -> [&'static str; ROWS] {
    let mut all = [""; ROWS];
    let mut n = 0;
    while n < ROWS {
        all[n] = if n < OWN { own[n] } else { COMMON[n - OWN] };
        n += 1;
    }
    all
}

/// The numbers of [`RECORD`].
fn record(bytes: u64, granule: u64, sizes: &Sizes) -> [u64; ROWS] {
    numbers([bytes, granule, granule, sizes.rss(), sizes.pss, sizes.pss], sizes)
}

/// The numbers of [`ROLLUP`].
fn rollup(sizes: &Sizes) -> [u64; ROWS] {
    let Sizes { pss, pss_anonymous, pss_file, pss_shmem, .. } = *sizes;
    numbers([sizes.rss(), pss, pss, pss_anonymous, pss_file, pss_shmem], sizes)
}

fn numbers(own: [u64; OWN], sizes: &Sizes) -> [u64; ROWS] {
    let mut all = [0; ROWS];
    all[..OWN].copy_from_slice(&own);
    all[OWN..].copy_from_slice(&common(sizes));
    all
}

/// The numbers of [`COMMON`].
fn common(sizes: &Sizes) -> [u64; COMMON.len()] {
    [
        0,
        sizes.shared,
        0,
        sizes.private,
        sizes.referenced,
        sizes.anonymous,
        0,
        0,
        sizes.anonymous_blocks,
        sizes.shmem_blocks,
        0,
        sizes.shared_hugetlb,
        sizes.private_hugetlb,
        0,
        0,
        0,
    ]
}

/// Whether a write to some block of the VMA may be backed by a huge page at this moment.
fn eligible(mm: &Mm, space: &AddressSpace, vma: &Vma) -> bool {
    let block = vma.start.align_up(PageSize::Size2M.bytes());
    vma.kind == VmaKind::Anon && policy::backing(mm, space, vma, block, Access::Write) != Backing::Small
}

const _: () = assert!(PAGE_SIZE >= 1 << 10, "sizes are whole kB");
