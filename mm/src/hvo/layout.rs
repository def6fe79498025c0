//! Which vmemmap pages of a folio stay and which go. Arithmetic only.
//!
//! ```text
//!   folio    pages   struct pages   vmemmap pages   kept   freed           bytes freed
//!   64 KiB      16         1 KiB            1/4        -   refused
//!    2 MiB     512        32 KiB              8        1      7                 28 KiB
//!   32 MiB    8192       512 KiB            128        1    127                508 KiB
//!    1 GiB  262144        16 MiB           4096        1   4095             16380 KiB
//! ```
#![forbid(unsafe_code)]

use core::fmt;

use arch::addr::PAGE_SIZE;
use arch::layout::{self, STRUCT_PAGE_BYTES};
use arch::{Order, Pfn, VirtAddr};

/// Leading struct pages in which a hugetlb folio keeps state of its own: the head.
const USED_STRUCT_PAGES: u64 = 1;
/// vmemmap pages that stay: the one with the head.
const KEPT: u64 = 1;
const _: () = assert!(USED_STRUCT_PAGES * STRUCT_PAGE_BYTES <= KEPT * PAGE_SIZE);

/// The vmemmap of a folio of one order that can be optimised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    order: Order,
}

/// What becomes of a vmemmap page when its folio is optimised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It holds the head, and stays writable in its place.
    Kept,
    /// It holds nothing but tails: its address comes to map a page that is shared, and its frame is freed.
    Freed,
}

/// A folio of this order has too few struct pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused(pub Order);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folio, pages) = (self.0.bytes() >> 10, self.0.pages() * STRUCT_PAGE_BYTES);
        write!(
            f,
            "a folio of {folio} KiB has {pages} bytes of struct pages: \
             no vmemmap page is all tails, so none can be freed"
        )
    }
}

impl Layout {
    /// The layout for folios of `order`.
    ///
    /// # Errors
    /// [`Refused`]: the struct pages fill no more than the page that must stay.
    // Walk B.5: what stays and what goes.
    pub const fn of(order: Order) -> Result<Layout, Refused> {
        if order.pages() * STRUCT_PAGE_BYTES > KEPT * PAGE_SIZE {
            Ok(Layout { order })
        } else {
            Err(Refused(order))
        }
    }
    /// The order of the folios.
    #[must_use]
    pub const fn order(self) -> Order {
        self.order
    }
    /// vmemmap pages of a folio.
    #[must_use]
    pub const fn pages(self) -> u64 {
        self.order.pages() * STRUCT_PAGE_BYTES / PAGE_SIZE
    }
    /// vmemmap pages that stay.
    #[must_use]
    pub const fn kept(self) -> u64 {
        KEPT
    }
    /// vmemmap pages whose frames are freed.
    #[must_use]
    pub const fn freed(self) -> u64 {
        self.pages() - KEPT
    }
    /// Bytes of the frames that are freed.
    #[must_use]
    pub const fn bytes_freed(self) -> u64 {
        self.freed() * PAGE_SIZE
    }
    /// What becomes of vmemmap page `n`, 0..[`Self::pages`].
    #[must_use]
    pub const fn fate(self, n: u64) -> Fate {
        if n < KEPT { Fate::Kept } else { Fate::Freed }
    }
    /// The address of vmemmap page `n` of the folio with its head at `head`, 0..[`Self::pages`].
    #[must_use]
    pub const fn page(self, head: Pfn, n: u64) -> VirtAddr {
        layout::vmemmap(head).add(n * PAGE_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2 MiB folio has eight vmemmap pages; the first stays and 28 KiB are freed.
    #[test]
    fn two_mib_frees_seven_of_eight() {
        let layout = Layout::of(Order::PMD).unwrap();
        assert_eq!((layout.pages(), layout.kept(), layout.freed()), (8, 1, 7));
        assert_eq!(layout.bytes_freed(), 28 << 10);
        let fates: Vec<Fate> = (0..8).map(|n| layout.fate(n)).collect();
        assert_eq!(fates[0], Fate::Kept);
        assert!(fates[1..].iter().all(|&fate| fate == Fate::Freed));
    }

    /// The larger sizes follow the same arithmetic.
    #[test]
    fn larger_sizes() {
        let freed = |order| Layout::of(Order::new(order)).unwrap().freed();
        assert_eq!((freed(13), freed(18)), (127, 4095));
    }

    /// 64 KiB is refused with the figures, and so is 256 KiB, whose struct pages fill exactly the kept page.
    #[test]
    fn small_folios_are_refused() {
        let refused = Layout::of(Order::new(4)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a folio of 64 KiB has 1024 bytes of struct pages: no vmemmap page is all tails, so none can be freed"
        );
        assert_eq!(Layout::of(Order::new(6)), Err(Refused(Order::new(6))));
        assert_eq!(Layout::of(Order::new(7)).unwrap().freed(), 1);
    }

    /// vmemmap pages are contiguous, begin at the head's struct page, and end where the next folio's begin.
    #[test]
    fn addresses_tile_vmemmap() {
        let layout = Layout::of(Order::PMD).unwrap();
        let head = Pfn::new(0x40200);
        assert_eq!(layout.page(head, 0), layout::vmemmap(head));
        assert_eq!(layout.page(head, 8), layout::vmemmap(head.add(512)));
        assert!(layout.page(head, 0).is_aligned(8 * PAGE_SIZE));
    }
}
