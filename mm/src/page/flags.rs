//! What a page is used for, its order, and its flag bits: one 64-bit word.
//!
//! ```text
//!  63        24 23   16 15   8 7     0
//! |  0         | order | kind | flags |
//! ```
#![forbid(unsafe_code)]

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use arch::Order;
use bitflags::bitflags;

use super::{Page, PageRef};

bitflags! {
    /// Flag bits of a head or single page.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Flags: u64 {
        /// First struct page of a folio of order 1 or more.
        const HEAD = 1 << 0;
        /// The folio's vmemmap is optimised: its tails are read-only and shared.
        const HVO = 1 << 1;
        /// In use, and its reservation of a huge page holds one reference more ([`crate::thp`]).
        const RESERVED = 1 << 2;
        /// Somebody moves the folio or splits it ([`crate::rmap`]): nobody else does meanwhile.
        const MOVING = 1 << 3;
        /// On the list of folios that are mapped in part ([`crate::rmap::deferred`]).
        const PARTIAL = 1 << 4;
        /// A huge page that may hold many zeros, on the list of those ([`crate::rmap::underused`]).
        const CANDIDATE = 1 << 5;
        /// Of a hugetlb folio: some of its pages have failed ([`crate::hugetlb::poison`] has the list).
        const POISONED = 1 << 6;
        /// Of one that is [`Self::POISONED`]: which pages could not be noted, so all of them count as failed.
        const UNRELIABLE = 1 << 7;
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// What a page is used for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum PageKind { $($(#[$doc])* $variant),+ }

        impl PageKind {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [PageKind] = &[$(PageKind::$variant),+];
            /// The name, for people.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(PageKind::$variant => $name),+ }
            }
        }
    };
}

kinds! {
    /// A tail of a folio; the all-zero word.
    Tail = "tail",
    /// Never given to the allocator: kernel image, device tree, early tables.
    Reserved = "reserved",
    /// First page of a free block of the buddy allocator.
    Buddy = "buddy",
    /// Inside a block of the buddy allocator, whose first page says what it is used for; or free on a CPU's
    /// list.
    Free = "free",
    /// Kernel memory: stacks, heap, and what the kernel keeps for itself.
    Kernel = "kernel",
    /// A page table.
    Table = "table",
    /// Holds struct pages.
    Vmemmap = "vmemmap",
    /// Anonymous memory of a process, mapped or about to be.
    Anon = "anon",
    /// In a reservation, not mapped.
    ThpReserved = "thp-reserved",
    /// A hugetlb folio.
    Hugetlb = "hugetlb",
    /// A page of an object, which any number of spaces may map.
    Shmem = "shmem",
    /// Memory that has failed: a page, or a folio of which nobody knows which pages. Nobody is ever given it.
    Failed = "failed",
}

const KIND_SHIFT: u32 = 8;
const ORDER_SHIFT: u32 = 16;
const FLAGS: usize = offset_of!(Page, flags);

impl PageRef {
    /// Sets kind and order and clears all flags. Only for a page of which the caller is the sole user.
    pub fn set_kind(self, kind: PageKind, order: Order) {
        let word = u64::from(order.raw()) << ORDER_SHIFT | (kind as u64) << KIND_SHIFT;
        self.store_64(FLAGS, word, Ordering::Release);
    }
    /// As [`Self::set_kind`] of a single page, and sets these flags by the same store.
    #[inline]
    pub(crate) fn set_kind_and_flags(self, kind: PageKind, flags: Flags) {
        self.store_64(FLAGS, (kind as u64) << KIND_SHIFT | flags.bits(), Ordering::Release);
    }
    /// Makes the `n` pages from here free ones that are on no list: kind [`PageKind::Free`], zeros otherwise. Only for
    /// pages that nobody has.
    pub(crate) fn make_free(self, n: u64) {
        const FREE: u64 = (PageKind::Free as u64) << KIND_SHIFT;
        if n == 1 {
            self.clear_but_flags();
            self.store_64(FLAGS, FREE, Ordering::Release);
        } else {
            self.fill(n, FREE, 0);
        }
    }
    /// Whether a block of this kind and order begins here.
    #[must_use]
    #[inline]
    pub(crate) fn is_block(self, kind: PageKind, order: Order) -> bool {
        let word = u64::from(order.raw()) << ORDER_SHIFT | (kind as u64) << KIND_SHIFT;
        self.load_64(FLAGS, Ordering::Acquire) == word
    }
    /// Whether the page, single or the first of a folio or block, is used for this.
    #[must_use]
    #[inline]
    pub fn is_of(self, kind: PageKind) -> bool {
        self.load_64(FLAGS, Ordering::Acquire) & 0xff << KIND_SHIFT == (kind as u64) << KIND_SHIFT
    }
    /// What the page is used for.
    #[must_use]
    pub fn kind(self) -> PageKind {
        let kind = self.load_64(FLAGS, Ordering::Acquire) >> KIND_SHIFT & 0xff;
        PageKind::ALL.get(kind as usize).copied().unwrap_or(PageKind::Reserved)
    }
    /// Whether the page is used for this.
    #[must_use]
    #[inline]
    pub fn is_kind(self, kind: PageKind) -> bool {
        self.load_64(FLAGS, Ordering::Acquire) >> KIND_SHIFT & 0xff == kind as u64
    }
    /// Whether the page is a single one of `kind`: of order 0 and no folio's.
    #[must_use]
    #[inline]
    pub fn is_single(self, kind: PageKind) -> bool {
        let bits = 0xff << KIND_SHIFT | 0xff << ORDER_SHIFT | Flags::HEAD.bits();
        self.load_64(FLAGS, Ordering::Acquire) & bits == (kind as u64) << KIND_SHIFT
    }
    /// The order of the folio or free block of which this is the first page.
    #[must_use]
    pub fn order(self) -> Order {
        let order = self.load_64(FLAGS, Ordering::Acquire) >> ORDER_SHIFT & 0xff;
        Order::new((order as u8).min(Order::PUD.raw()))
    }
    /// The flag bits.
    #[must_use]
    pub fn flags(self) -> Flags {
        Flags::from_bits_truncate(self.load_64(FLAGS, Ordering::Acquire))
    }
    /// Sets flag bits; kind and order stay.
    pub fn set_flags(self, flags: Flags) {
        self.fetch_or_64(FLAGS, flags.bits());
    }
    /// Sets one flag bit; whether it was clear before.
    #[must_use]
    pub(crate) fn claim_flag(self, flag: Flags) -> bool {
        self.fetch_or_64(FLAGS, flag.bits()) & flag.bits() == 0
    }
    /// Clears flag bits; kind and order stay.
    pub fn clear_flags(self, flags: Flags) {
        self.fetch_and_64(FLAGS, !flags.bits());
    }
}
