//! Content of a hugetlb object's pages that the kernel brings itself, a piece at a time.
//!
//! The page is in the object before its content is: whoever maps the object sees what has arrived, and zeros. Where
//! that must not be, the VMAs are registered with a context ([`crate::userfault`]), which maps what is complete.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::{Machine, PhysMem};

use super::huge::provide;
use super::object::Object;
use crate::Mm;
use crate::fault::FaultReason;
use crate::hugetlb::poison;

/// Why content could not be brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliverError {
    /// The object is not one of hugetlb pages.
    NotHuge,
    /// The object ends before, has no page there any more, or its memory has failed.
    NoPage,
    /// The pool has no page for it.
    PoolEmpty,
    /// No memory for the object's list of pages.
    OutOfMemory,
}

impl Mm {
    /// Sees to it that a hugetlb object has these pages, by their numbers, zeroed where they are new. They are taken
    /// by the object's promises where it has some. May sleep; the caller holds no lock of rank 11 or above.
    ///
    /// # Errors
    /// [`DeliverError`]; the pages before it are there.
    pub fn bring_huge_pages(&self, object: &Object, pages: Range<u64>) -> Result<(), DeliverError> {
        let size = object.huge.ok_or(DeliverError::NotHuge)?;
        for number in pages {
            provide(self, object, size, number).map_err(|reason| match reason {
                FaultReason::BeyondObject => DeliverError::NoPage,
                FaultReason::HugetlbEmpty => DeliverError::PoolEmpty,
                _ => DeliverError::OutOfMemory,
            })?;
        }
        Ok(())
    }

    /// Writes bytes into a page that a hugetlb object has; they lie in one page. They are copied under O, under which
    /// the page can neither leave nor move. No spinlock of rank 38 or above is held.
    ///
    /// # Errors
    /// [`DeliverError::NoPage`], [`DeliverError::NotHuge`]; nothing is written.
    pub fn deliver(&self, object: &Object, offset: u64, bytes: &[u8]) -> Result<(), DeliverError> {
        let unit = object.huge.ok_or(DeliverError::NotHuge)?.bytes();
        let (number, at) = (offset / unit, offset % unit);
        debug_assert!(at + bytes.len() as u64 <= unit, "content of two pages");
        object.with_page(number, |page| {
            let page = page.ok_or(DeliverError::NoPage)?;
            let pages = at / PAGE_SIZE..(at + bytes.len() as u64).div_ceil(PAGE_SIZE);
            if poison::first_in(self, page, pages).is_some() {
                return Err(DeliverError::NoPage);
            }
            Machine::write_bytes(page.pfn().phys().add(at), bytes);
            Ok(())
        })
    }
}
