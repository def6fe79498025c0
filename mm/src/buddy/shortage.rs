//! The last request that found no memory, for the report of who is killed for it.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU16, Ordering};

use arch::Order;

use crate::Mm;
use crate::page::PageKind;

/// The last request that failed, of all CPUs.
pub(crate) struct LastShortage {
    /// Order in the high byte, kind in the low one.
    request: AtomicU16,
}

/// A request that found no memory though all was given back that nobody needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortage {
    /// log2 of the pages that were asked for.
    pub order: Order,
    /// What for.
    pub kind: PageKind,
}

impl LastShortage {
    /// One page for a process: what most requests are for.
    pub(crate) const fn new() -> Self {
        LastShortage { request: AtomicU16::new(PageKind::Anon as u16) }
    }
    /// Takes note, but of a huge page or a reservation: who does not get one takes a small page, or goes without.
    pub(super) fn note(&self, order: Order, kind: PageKind) {
        if order == Order::PMD && matches!(kind, PageKind::Anon | PageKind::ThpReserved) {
            return;
        }
        self.request.store(u16::from(order.raw()) << 8 | kind as u16, Ordering::Relaxed);
    }
}

impl Mm {
    /// The last request that failed, of whichever CPU.
    #[must_use]
    pub fn last_shortage(&self) -> Shortage {
        let [order, kind] = self.shortage.request.load(Ordering::Relaxed).to_be_bytes();
        let kind = PageKind::ALL.get(usize::from(kind)).copied().unwrap_or(PageKind::Anon);
        Shortage { order: Order::new(order), kind }
    }
}
