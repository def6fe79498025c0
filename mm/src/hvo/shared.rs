//! The shared page of tails of the `mask` encoding: one for each order, as this machine has one zone.
//!
//! It is made when the first folio of its order is optimised, or at boot where one is chosen then, and never given back:
//! it is mapped at seven addresses for each optimised folio of 2 MiB.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::{Order, Pfn, PhysAddr};

use crate::Mm;
use crate::config::TailEncoding;
use crate::error::OutOfMemory;
use crate::page::{PageKind, page_of, tails};

const ORDERS: usize = Order::PUD.raw() as usize + 1;

/// The shared pages: pfn by order; 0 where there is none yet.
#[derive(Debug)]
pub struct SharedTails([AtomicU64; ORDERS]);

impl SharedTails {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        SharedTails([const { AtomicU64::new(0) }; ORDERS])
    }

    /// The page for `order`, if it was made.
    #[must_use]
    pub fn get(&self, order: Order) -> Option<PhysAddr> {
        let pfn = self.0[usize::from(order.raw())].load(Ordering::Acquire);
        (pfn != 0).then(|| Pfn::new(pfn).phys())
    }

    /// The page for `order` is this one from the start; whoever boots writes it.
    pub(crate) fn begin_with(&self, order: Order, page: PhysAddr) {
        self.0[usize::from(order.raw())].store(page.pfn().raw(), Ordering::Release);
    }

    /// Pages made so far.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.0.iter().filter(|pfn| pfn.load(Ordering::Relaxed) != 0).count() as u64
    }

    /// The page for `order`, made if need be.
    pub(super) fn get_or_make(&self, mm: &Mm, order: Order) -> Result<PhysAddr, OutOfMemory> {
        if let Some(page) = self.get(order) {
            return Ok(page);
        }
        let page = mm.alloc_pages(Order::PAGE, PageKind::Vmemmap)?;
        let pfn = page.pfn();
        tails::write_pages(pfn.phys(), 1, tails::encode(TailEncoding::Mask, page_of(pfn), order));
        let place = &self.0[usize::from(order.raw())];
        match place.compare_exchange(0, pfn.raw(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                page.leave();
                Ok(pfn.phys())
            }
            Err(theirs) => {
                mm.free_pages(page, Order::PAGE);
                Ok(Pfn::new(theirs).phys())
            }
        }
    }
}

impl Default for SharedTails {
    fn default() -> Self {
        Self::new()
    }
}
