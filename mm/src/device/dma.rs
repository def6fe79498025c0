//! A device that reads and writes memory by itself, later: in software.
//!
//! A transfer is submitted with a range of a space, whose pages are pinned there and then. The device does it when it
//! is told to ([`Dma::step`]), by physical addresses, through no table of anybody; so a test, or a program, chooses
//! what happens in between.
//!
//! ```text
//!   submit: pin the pages ---> queue ---> step: the frames are filled, or added up ---> unpin
//!                                 ^ fork, munmap, promotion, migration, the end of the process
//! ```
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::addr::PAGE_SIZE;
use arch::sync::SpinLock;
use arch::{Access, Machine, PhysAddr, PhysMem, VirtAddr};

use crate::Mm;
use crate::kalloc::{KAlloc, KArc};
use crate::locks;
use crate::pin::{PinError, PinnedPages};
use crate::space::AddressSpace;

/// Bytes of a word; addresses and lengths are multiples of it.
const WORD: u64 = 8;

/// What a transfer does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transfer {
    /// Stores this word everywhere.
    Fill(u64),
    /// Adds up all words.
    Sum,
}

impl Transfer {
    /// What the pages are pinned for.
    #[must_use]
    pub const fn access(self) -> Access {
        match self {
            Transfer::Fill(_) => Access::Write,
            Transfer::Sum => Access::Read,
        }
    }
}

struct Job {
    pages: PinnedPages,
    /// Offset of the first byte in the first page.
    offset: u64,
    bytes: u64,
    transfer: Transfer,
}

impl Job {
    /// The physical address of byte `n`.
    fn at(&self, n: u64) -> Option<PhysAddr> {
        let place = self.offset + n;
        let frame = self.pages.frame(usize::try_from(place / PAGE_SIZE).ok()?)?;
        Some(frame.phys().add(place % PAGE_SIZE))
    }

    /// Does it; the sum of all words that were met, or of those that were stored.
    fn perform(&self) -> u64 {
        let places = (0..self.bytes / WORD).filter_map(|n| self.at(n * WORD));
        places.fold(0, |sum, at| {
            let mut word = [0; WORD as usize];
            match self.transfer {
                Transfer::Fill(value) => {
                    word = value.to_le_bytes();
                    Machine::write_bytes(at, &word);
                }
                Transfer::Sum => Machine::read_bytes(at, &mut word),
            }
            sum.wrapping_add(u64::from_le_bytes(word))
        })
    }
}

/// The device: transfers that were submitted and not done, the oldest first.
pub struct Dma {
    queue: SpinLock<Vec<Job, KAlloc>>,
}

impl Dma {
    /// An idle device.
    #[must_use]
    pub const fn new() -> Self {
        Dma { queue: SpinLock::new(locks::DMA, Vec::new_in(KAlloc)) }
    }

    /// Transfers that were submitted and not done.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queue.lock().len()
    }

    /// Pins `bytes` bytes at `va`, both multiples of 8, and queues the transfer. May sleep.
    ///
    /// # Errors
    /// [`PinError`]; nothing is pinned or queued.
    pub fn submit(
        &self,
        mm: &Mm,
        space: &KArc<AddressSpace>,
        va: VirtAddr,
        bytes: u64,
        transfer: Transfer,
    ) -> Result<(), PinError> {
        let offset = va.raw() % PAGE_SIZE;
        let end = offset.checked_add(bytes).filter(|_| bytes != 0 && (offset | bytes).is_multiple_of(WORD));
        let pages = end.ok_or(PinError::Range(va, bytes))?.div_ceil(PAGE_SIZE);
        let pages = mm.pin_user_pages(space, va, pages, transfer.access())?;
        let mut queue = self.queue.lock();
        if queue.try_reserve(1).is_err() {
            drop(queue);
            mm.unpin(pages);
            return Err(PinError::OutOfMemory);
        }
        queue.push(Job { pages, offset, bytes, transfer });
        Ok(())
    }

    /// Does the oldest transfer and unpins its pages. Returns the sum of all words that it has read or stored; `None`:
    /// nothing was queued.
    pub fn step(&self, mm: &Mm) -> Option<u64> {
        let job = {
            let mut queue = self.queue.lock();
            (!queue.is_empty()).then(|| queue.remove(0))
        }?;
        let sum = job.perform();
        mm.unpin(job.pages);
        Some(sum)
    }

    /// Gives up what is queued, and unpins it. Returns how much it was.
    pub fn reset(&self, mm: &Mm) -> usize {
        let queued = core::mem::replace(&mut *self.queue.lock(), Vec::new_in(KAlloc));
        let count = queued.len();
        queued.into_iter().for_each(|job| mm.unpin(job.pages));
        count
    }
}

impl Default for Dma {
    fn default() -> Self {
        Self::new()
    }
}
