//! Reading and writing an object by offset, as a descriptor of it does, without mapping it.
//!
//! Writers take turns with each other and with truncation (`resize`), so that a write is wholly before a smaller size
//! or wholly after it. Bytes are copied under O, a page at a time, where the page can neither leave nor move. Those who
//! map the object do not wait for that: they see a write word by word, as on Linux.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, PhysMem};

use super::object::{MOST_BYTES, Object};
use super::truncate::zero_from;
use crate::Mm;
use crate::hugetlb::poison;
use crate::page::{PageKind, PageRef};
use crate::stats::Counter;

/// Why bytes could not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// They would lie beyond [`MOST_BYTES`] (EFBIG).
    TooFar,
    /// No memory for a page (ENOMEM).
    OutOfMemory,
    /// The object is of hugetlb pages, which are written by who maps them (EINVAL, as on Linux).
    Huge,
}

/// The first byte that was to be read lies in memory that has failed (EIO).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadFailed;

impl Mm {
    /// Reads from `offset` on, up to the end of the object or of `into`, or to a page of 4 KiB that has failed; returns
    /// how many bytes. What has no page reads as zeros and gets none. No spinlock of rank 38 or above is held.
    ///
    /// # Errors
    /// [`ReadFailed`]: it would be none, as the page at `offset` has failed (Linux: `hugetlbfs_read_iter`).
    pub fn read_object(&self, object: &Object, offset: u64, into: &mut [u8]) -> Result<usize, ReadFailed> {
        let mut done = 0;
        while done < into.len() {
            let at = offset.saturating_add(done as u64);
            let contents = object.contents.lock();
            let unit = object.unit();
            let left = contents.bytes.saturating_sub(at).min(unit - at % unit);
            let many = left.min((into.len() - done) as u64) as usize;
            if many == 0 {
                break;
            }
            let part = &mut into[done..done + many];
            done += many;
            let Some(page) = contents.pages.get(at / unit) else {
                part.fill(0);
                continue;
            };
            let good = good_bytes(self, page, at % unit, many);
            Machine::read_bytes(page.pfn().phys().add(at % unit), &mut part[..good]);
            if good < many {
                done -= many - good;
                return if done == 0 { Err(ReadFailed) } else { Ok(done) };
            }
        }
        Ok(done)
    }

    /// Writes all of `from` at `offset`. The object grows where that lies beyond its end; what lies between is zeros.
    /// May sleep.
    ///
    /// # Errors
    /// [`WriteError`]; of the pages below the one that could not be had, the bytes are written.
    pub fn write_object(&self, object: &Object, offset: u64, from: &[u8]) -> Result<(), WriteError> {
        if object.huge.is_some() {
            return Err(WriteError::Huge);
        }
        let end = offset.checked_add(from.len() as u64).filter(|&end| end <= MOST_BYTES);
        end.ok_or(WriteError::TooFar)?;
        let _resize = object.resize.write(self.env);
        let mut done = 0;
        while done < from.len() {
            let at = offset + done as u64;
            let many = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(from.len() - done);
            self.write_page(object, at, &from[done..done + many])?;
            done += many;
        }
        Ok(())
    }

    /// Writes bytes of one page, which is made where there is none. `resize` is held.
    fn write_page(&self, object: &Object, at: u64, from: &[u8]) -> Result<(), WriteError> {
        let index = at / PAGE_SIZE;
        let mut spare = None;
        if object.page(index).is_none() {
            let page = self.alloc_zeroed_page(PageKind::Shmem).map_err(|_| WriteError::OutOfMemory)?;
            page.set_mapping(object.id.mapping(), index);
            spare = Some(page);
        }
        let mut contents = object.contents.lock();
        if contents.pages.get(index).is_none()
            && let Some(page) = spare.take()
        {
            match contents.pages.insert(index, page) {
                Ok(()) => self.stats.inc(Counter::NrShmem),
                Err(page) => spare = Some(page),
            }
        }
        let written = contents.pages.get(index).map(|page| {
            let end = at + from.len() as u64;
            if end > contents.bytes {
                // What stands in the last page behind the end was never part of the object.
                if let Some(last) = contents.pages.get(contents.bytes / PAGE_SIZE) {
                    zero_from(last, contents.bytes % PAGE_SIZE);
                }
                contents.bytes = end;
            }
            Machine::write_bytes(page.pfn().phys().add(at % PAGE_SIZE), from);
        });
        drop(contents);
        if let Some(unused) = spare {
            // A fault has made the page meanwhile, or the tree has no memory for it.
            self.put_folio(unused);
        }
        written.ok_or(WriteError::OutOfMemory)
    }
}

/// How many of `many` bytes of a page or folio, those from `from` on, lie before the first that has failed.
fn good_bytes(mm: &Mm, head: PageRef, from: u64, many: usize) -> usize {
    let pages = from / PAGE_SIZE..(from + many as u64).div_ceil(PAGE_SIZE);
    let failed = poison::first_in(mm, head, pages).map(|n| (n * PAGE_SIZE).saturating_sub(from));
    failed.map_or(many, |good| good as usize)
}
