//! The one door to struct page, and the only code that touches one.

use core::fmt;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::layout::{STRUCT_PAGE_BYTES, STRUCT_PAGE_SHIFT, VMEMMAP_BASE};
use arch::{Access, Machine, Mmu, Pfn, VirtAddr, kernel_access, layout};

use super::Page;
#[cfg(not(target_os = "none"))]
use crate::testkit::touched::{self, Write};

/// The virtual address of a struct page. A `Copy` handle: it proves that the address lies in vmemmap and is
/// a multiple of 64, not that the page is in use, nor that anybody holds a reference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PageRef(VirtAddr);

/// The struct page of `pfn`. The frame must be RAM that the machine was booted with; an access for any other
/// frame is a translation fault.
#[must_use]
pub fn page_of(pfn: Pfn) -> PageRef {
    PageRef(layout::vmemmap(pfn))
}

impl fmt::Debug for PageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page({:#x})", self.pfn().raw())
    }
}

/// Field accessors of one width: load, store, swap, compare-and-exchange, add.
macro_rules! accessors {
    ($atomic:ty, $int:ty, $at:ident, $load:ident, $store:ident) => {
        #[inline(always)]
        fn $at<'a>(self, offset: usize, access: Access) -> &'a $atomic {
            let va = self.word(offset);
            // SAFETY: `from_ptr` asks for
            // 1. alignment: `va` is a multiple of 64 plus the offset of an `$atomic` in the `repr(C)` `Page` or
            //    `FirstTail`;
            // 2. validity for reads and writes: `kernel_access` gives a pointer to the bytes that `va`
            //    translates to with the right asked for; vmemmap is mapped for all RAM;
            // 3. no non-atomic access meanwhile: struct pages are accessed here only, always atomically, and
            //    what HVO writes through the linear map while others read it by vmemmap, mapped read-only, it writes by
            //    the backend's vector stores, each element of which is single-copy atomic.
            unsafe { <$atomic>::from_ptr(kernel_access(va, access).cast()) }
        }
        #[inline(always)]
        pub(super) fn $load(self, offset: usize, order: Ordering) -> $int {
            self.$at(offset, Access::Read).load(order)
        }
        #[inline(always)]
        pub(super) fn $store(self, offset: usize, value: $int, order: Ordering) {
            #[cfg(not(target_os = "none"))]
            touched::note(self.0, Write::Plain);
            self.$at(offset, Access::Write).store(value, order);
        }
    };
}

impl PageRef {
    accessors!(AtomicU32, u32, at_32, load_32, store_32);
    accessors!(AtomicU64, u64, at_64, load_64, store_64);

    /// The struct page at this address of vmemmap, rounded down to a multiple of 64.
    pub(super) fn from_address(va: u64) -> Self {
        PageRef(VirtAddr::new(va & !(STRUCT_PAGE_BYTES - 1)))
    }

    /// Where the struct page stands in vmemmap.
    #[must_use]
    pub fn address(self) -> VirtAddr {
        self.0
    }

    /// The frame that this struct page describes.
    #[must_use]
    pub fn pfn(self) -> Pfn {
        Pfn::new(self.0.offset_from(VMEMMAP_BASE) >> STRUCT_PAGE_SHIFT)
    }

    /// The struct page `n` frames further on. Beyond vmemmap there is none: an access is a translation fault.
    #[must_use]
    #[inline(always)]
    pub fn nth(self, n: u64) -> Self {
        PageRef(VirtAddr::new(self.0.raw().wrapping_add(n << STRUCT_PAGE_SHIFT)))
    }
    /// The address of the field at `offset`, below 64. The struct page's own is a multiple of 64, so nothing overflows,
    /// and nothing is spent on looking.
    #[inline(always)]
    fn word(self, offset: usize) -> VirtAddr {
        VirtAddr::new(self.0.raw().wrapping_add(offset as u64))
    }

    /// Fills the whole struct page with zeros: kind [`super::PageKind::Tail`] of nothing, count 0. Only for a
    /// page that nobody else can reach.
    #[inline]
    pub fn clear(self) {
        self.store_64(offset_of!(Page, flags), 0, Ordering::Relaxed);
        self.clear_but_flags();
    }
    /// As [`Self::clear`]; the flags stay.
    #[inline(always)]
    pub(super) fn clear_but_flags(self) {
        for word in 1..STRUCT_PAGE_BYTES as usize / 8 {
            self.store_64(word * 8, 0, Ordering::Relaxed);
        }
    }

    /// Fills the `n` struct pages from here: flags and word of a tail as given, zeros otherwise. Only for pages that
    /// nobody has; who looks at one meanwhile finds each word old or new.
    pub(super) fn fill(self, n: u64, flags: u64, info: u64) {
        const { assert!(offset_of!(Page, flags) == 0 && offset_of!(Page, compound_info) == 8) };
        #[cfg(not(target_os = "none"))]
        (0..n).for_each(|k| touched::note(self.nth(k).0, Write::Plain));
        // SAFETY: 1. the address is a multiple of 64. 2. struct pages of RAM are mapped next to one another, and
        // accessed here only, always atomically.
        unsafe { Machine::fill_lines(self.0, n, [flags, info]) };
    }

    pub(super) fn compare_exchange_32(self, offset: usize, old: u32, new: u32) -> Result<u32, u32> {
        #[cfg(not(target_os = "none"))]
        touched::note(self.0, Write::Atomic);
        self.at_32(offset, Access::Write).compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
    }

    pub(super) fn fetch_add_32(self, offset: usize, n: u32) -> u32 {
        #[cfg(not(target_os = "none"))]
        touched::note(self.0, Write::Atomic);
        self.at_32(offset, Access::Write).fetch_add(n, Ordering::Relaxed)
    }

    pub(super) fn fetch_sub_32(self, offset: usize, n: u32) -> u32 {
        #[cfg(not(target_os = "none"))]
        touched::note(self.0, Write::Atomic);
        self.at_32(offset, Access::Write).fetch_sub(n, Ordering::AcqRel)
    }

    pub(super) fn fetch_or_64(self, offset: usize, bits: u64) -> u64 {
        #[cfg(not(target_os = "none"))]
        touched::note(self.0, Write::Atomic);
        self.at_64(offset, Access::Write).fetch_or(bits, Ordering::AcqRel)
    }

    pub(super) fn fetch_and_64(self, offset: usize, bits: u64) -> u64 {
        #[cfg(not(target_os = "none"))]
        touched::note(self.0, Write::Atomic);
        self.at_64(offset, Access::Write).fetch_and(bits, Ordering::AcqRel)
    }

    /// The owner's word: what it means depends on the kind.
    #[must_use]
    pub fn private(self) -> u64 {
        self.load_64(offset_of!(Page, private), Ordering::Relaxed)
    }
    /// Sets the owner's word.
    pub fn set_private(self, value: u64) {
        self.store_64(offset_of!(Page, private), value, Ordering::Relaxed);
    }
    /// Whose memory the page is: an address space's number for anonymous pages, 0 for nobody's.
    #[must_use]
    pub fn mapping(self) -> u64 {
        self.load_64(offset_of!(Page, mapping), Ordering::Relaxed)
    }
    /// Where in it: the page index (virtual address / 4096) for anonymous pages.
    #[must_use]
    pub fn index(self) -> u64 {
        self.load_64(offset_of!(Page, index), Ordering::Relaxed)
    }
    /// Sets whose memory the page is, and where in it.
    pub fn set_mapping(self, mapping: u64, index: u64) {
        self.store_64(offset_of!(Page, mapping), mapping, Ordering::Relaxed);
        self.store_64(offset_of!(Page, index), index, Ordering::Relaxed);
    }
}
