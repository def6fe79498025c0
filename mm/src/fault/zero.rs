//! The shared pages of zeros: what a read of untouched anonymous memory sees.
//!
//! There is one of 4 KiB, from boot on, and one of 2 MiB for ranges whose first write would be given a huge page at
//! once: so a read does not spoil the range with a table. The huge one is made when it is first asked for, and kept:
//! nobody counts who maps it (Linux counts address spaces, and frees it under memory pressure: `huge_zero_folio`).
//!
//! It is mapped read-only any number of times, without references and without being counted as mapped, so it
//! can neither be freed nor overflow a count (Linux: `empty_zero_page`, a special entry that is not
//! refcounted).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::{Machine, Order, Pfn, PhysAddr, PhysMem};

use crate::Mm;
use crate::error::OutOfMemory;
use crate::page::PageKind;

/// The machine's page of zeros. Its frame is [`crate::page::PageKind::Reserved`] and never written again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZeroPage(Pfn);

impl ZeroPage {
    /// The page of zeros is this frame: zeroed, reserved, and nobody's.
    #[must_use]
    pub const fn new(frame: Pfn) -> Self {
        ZeroPage(frame)
    }
    /// Its frame.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        self.0
    }
    /// Whether a leaf with this output address maps it.
    #[must_use]
    pub fn is_at(self, output: PhysAddr) -> bool {
        output.pfn() == self.0
    }
}

/// The machine's 2 MiB of zeros: a plain block of the kernel's, never written again.
#[derive(Debug, Default)]
pub struct HugeZero {
    /// The first frame; 0: none yet.
    first: AtomicU64,
}

impl HugeZero {
    /// Not made yet.
    #[must_use]
    pub const fn new() -> Self {
        HugeZero { first: AtomicU64::new(0) }
    }
    /// Its first frame, where it was made.
    #[must_use]
    pub fn pfn(&self) -> Option<Pfn> {
        match self.first.load(Ordering::Acquire) {
            0 => None,
            first => Some(Pfn::new(first)),
        }
    }
    /// Whether a block with this output address maps it.
    #[must_use]
    pub fn is_at(&self, output: PhysAddr) -> bool {
        self.pfn() == Some(output.pfn())
    }
    /// Its pages of 4 KiB: memory that was free, and will not be.
    #[must_use]
    pub fn kept_pages(&self) -> u64 {
        if self.pfn().is_some() { Order::PMD.pages() } else { 0 }
    }
    /// Its first frame; makes it where it is not there.
    ///
    /// # Errors
    /// [`OutOfMemory`]: there is no free block of 2 MiB.
    pub(crate) fn get(&self, mm: &Mm) -> Result<Pfn, OutOfMemory> {
        if let Some(made) = self.pfn() {
            return Ok(made);
        }
        let block = mm.alloc_pages(Order::PMD, PageKind::Kernel)?;
        Machine::zero(block.pfn().phys(), Order::PMD.bytes());
        let first = block.pfn();
        match self.first.compare_exchange(0, first.raw(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // The reference is this value's.
                block.leave();
                Ok(first)
            }
            Err(others) => {
                mm.free_pages(block, Order::PMD);
                Ok(Pfn::new(others))
            }
        }
    }
}
