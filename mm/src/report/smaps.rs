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
        maps::line(&mut to, &vma, name)?;
        let granule = vma.kind.granule().bytes();
        to.row(b"Size:           ", vma.bytes())?;
        to.row(b"KernelPageSize: ", granule)?;
        to.row(b"MMUPageSize:    ", granule)?;
        rows(&mut to, &sizes, Form::Record)?;
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
        rows(&mut to, &sizes, Form::Rollup)?;
        to.finish()
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

/// Which rows there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Of one VMA.
    Record,
    /// Of all.
    Rollup,
}

/// The rows that both files have.
fn rows(to: &mut Lines<'_>, sizes: &Sizes, form: Form) -> fmt::Result {
    to.row(b"Rss:            ", sizes.rss())?;
    to.row(b"Pss:            ", sizes.pss)?;
    to.row(b"Pss_Dirty:      ", sizes.pss)?;
    if form == Form::Rollup {
        to.row(b"Pss_Anon:       ", sizes.pss_anonymous)?;
        to.row(b"Pss_File:       ", sizes.pss_file)?;
        to.row(b"Pss_Shmem:      ", sizes.pss_shmem)?;
    }
    to.row(b"Shared_Clean:   ", 0)?;
    to.row(b"Shared_Dirty:   ", sizes.shared)?;
    to.row(b"Private_Clean:  ", 0)?;
    to.row(b"Private_Dirty:  ", sizes.private)?;
    to.row(b"Referenced:     ", sizes.referenced)?;
    to.row(b"Anonymous:      ", sizes.anonymous)?;
    to.row(b"KSM:            ", 0)?;
    to.row(b"LazyFree:       ", 0)?;
    to.row(b"AnonHugePages:  ", sizes.anonymous_blocks)?;
    to.row(b"ShmemPmdMapped: ", sizes.shmem_blocks)?;
    to.row(b"FilePmdMapped:  ", 0)?;
    to.row(b"Shared_Hugetlb: ", sizes.shared_hugetlb)?;
    to.text("Private_Hugetlb: ")?;
    to.decimal(sizes.private_hugetlb >> 10, 7)?;
    to.text(" kB\n")?;
    to.row(b"Swap:           ", 0)?;
    to.row(b"SwapPss:        ", 0)?;
    to.row(b"Locked:         ", 0)
}

/// Whether a write to some block of the VMA may be backed by a huge page at this moment.
fn eligible(mm: &Mm, space: &AddressSpace, vma: &Vma) -> bool {
    let block = vma.start.align_up(PageSize::Size2M.bytes());
    vma.kind == VmaKind::Anon && policy::backing(mm, space, vma, block, Access::Write) != Backing::Small
}

const _: () = assert!(PAGE_SIZE >= 1 << 10, "sizes are whole kB");
