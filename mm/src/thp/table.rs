//! All reservations, found by space and range: a hash of chains that are linked through the blocks' own struct
//! pages, so that it neither needs memory nor can fail to take one more.
//!
//! It is one table for all spaces, though each reservation belongs to one: so a page leads to its reservation without
//! a way from a number to a space, and pressure finds all of them without keeping any space alive.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::sync::{SpinGuard, SpinLock};
use arch::{Order, PageSize, Pfn};

use super::popmap::PAGES;
use super::record::{Key, Record};
use super::{pieces, queue};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::{KAlloc, try_array};
use crate::locks;
use crate::page::{FolioRef, PageList, page_of};

/// Chains, each with its lock.
pub const BUCKETS: usize = 128;

/// The reservations of one chain. R.
pub struct Bucket {
    chain: PageList,
}

/// All reservations of the machine.
pub struct Table {
    buckets: Vec<SpinLock<Bucket>, KAlloc>,
}

impl Table {
    /// No reservation.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        let new = || SpinLock::new(locks::RESERVATION, Bucket::new());
        Ok(Table { buckets: try_array(BUCKETS, new)? })
    }

    /// Locks the bucket of `key`.
    pub(super) fn lock(&self, key: Key) -> SpinGuard<'_, Bucket> {
        self.buckets[hash(key)].lock()
    }

    /// Locks the bucket of `key`, if nobody holds it at this moment.
    pub(super) fn try_lock(&self, key: Key) -> Option<SpinGuard<'_, Bucket>> {
        self.buckets[hash(key)].try_lock()
    }

    /// Locks bucket `n`, 0..[`BUCKETS`].
    pub(super) fn lock_nth(&self, n: usize) -> SpinGuard<'_, Bucket> {
        self.buckets[n].lock()
    }
}

/// Fibonacci hashing: neighbouring ranges of a space, and one range of many spaces, spread evenly.
fn hash(key: Key) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (key.range.raw() / PageSize::Size2M.bytes()) ^ key.space.wrapping_mul(GOLDEN);
    (mixed.wrapping_mul(GOLDEN) >> (u64::BITS - BUCKETS.ilog2())) as usize
}

/// A record that is not in the table, yet or any more: its reservation's references are the holder's.
#[must_use = "the reservation's references must go somewhere"]
pub(super) struct Unlinked(Record);

impl Bucket {
    const fn new() -> Self {
        Bucket { chain: PageList::new() }
    }
    /// The reservation for `key`.
    pub(super) fn find(&self, key: Key) -> Option<Record> {
        self.iter().find(|record| record.key() == key)
    }
    /// The first reservation for which `wanted` holds.
    pub(super) fn find_by(&self, mut wanted: impl FnMut(Key) -> bool) -> Option<Record> {
        self.iter().find(|record| wanted(record.key()))
    }
    /// All reservations of the bucket.
    pub(super) fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        self.chain.iter().map(Record::at)
    }
    /// Takes a new reservation in. There must be none for its key.
    pub(super) fn insert(&mut self, new: Unlinked) {
        let record = new.0;
        debug_assert!(self.find(record.key()).is_none(), "two reservations for {:?}", record.key());
        self.chain.push(record.block());
    }
    /// Takes a reservation of this bucket out, and out of the queue.
    pub(super) fn unlink(&mut self, mm: &Mm, record: Record) -> Unlinked {
        queue::leave(mm, record);
        self.chain.remove(record.block());
        Unlinked(record)
    }
}

impl Unlinked {
    /// A new reservation for `key`, of a block of 512 pages as it was given out.
    pub(super) fn new(block: FolioRef, key: Key) -> Self {
        Unlinked(Record::write(block.into_raw(), key))
    }
    pub(super) fn record(&self) -> Record {
        self.0
    }
    /// The end of the reservation: wipes its record out, and gives back its references, one to each populated page and
    /// one to each piece. The mark of a page leaves before the reference does.
    pub(super) fn dissolve(self) -> impl Iterator<Item = FolioRef> {
        self.0.erase();
        pieces::all(self.0.block())
    }
}

impl Mm {
    /// The reservation that the page belongs to. `pfn` is RAM. Without R the answer may be old.
    #[must_use]
    pub fn reservation_of(&self, pfn: Pfn) -> Option<Record> {
        let block = pfn.align_down(Order::PMD);
        if !self.pfn_valid(block) || !self.pfn_valid(block.add(PAGES as u64 - 1)) {
            return None;
        }
        let record = Record::at(page_of(block));
        let key = record.key();
        self.thp.table.lock(key).iter().find(|&other| other == record && other.key() == key)
    }
}
