//! The records of one CPU, the newest of them.
//!
//! A ring is a block of memory that only its CPU writes, with its interrupts masked: so nobody comes between the choice
//! of a place and the last byte, and a writer needs no lock and cannot fail. When the block is full the oldest record
//! makes room.
//!
//! Whoever gives a ring its memory, takes it away or reads it does so while no point is on, and has waited until no CPU
//! is in a section with masked interrupts that found one on ([`super::control`]).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::{Machine, PhysAddr, PhysMem};

use super::record::{RECORD_BYTES, Record};

/// One CPU's ring, and the thread that the CPU runs; in a cache line of its own.
#[repr(align(64))]
pub(super) struct Ring {
    /// Where the records are.
    base: AtomicU64,
    /// How many there is room for; 0: there is no memory.
    places: AtomicU64,
    /// How many were written since the ring was empty.
    written: AtomicU64,
    /// [`super::Running`] of this CPU.
    pub(super) thread: AtomicU64,
    pub(super) pid: AtomicU64,
}

const _: () = assert!(size_of::<Ring>() == 64);

impl Ring {
    pub(super) const fn new() -> Self {
        Ring {
            base: AtomicU64::new(0),
            places: AtomicU64::new(0),
            written: AtomicU64::new(0),
            thread: AtomicU64::new(0),
            pid: AtomicU64::new(0),
        }
    }

    /// From now on the records go to this block of so many bytes.
    pub(super) fn give(&self, block: PhysAddr, bytes: u64) {
        self.base.store(block.raw(), Ordering::Relaxed);
        self.places.store(bytes / RECORD_BYTES, Ordering::Relaxed);
        self.clear();
    }
    /// There is no block any more, and no record.
    pub(super) fn take(&self) {
        self.places.store(0, Ordering::Relaxed);
        self.clear();
    }
    /// There is no record any more.
    pub(super) fn clear(&self) {
        self.written.store(0, Ordering::Relaxed);
    }

    /// Writes a record, over the oldest where the block is full. By its CPU alone, interrupts masked.
    pub(super) fn write(&self, record: Record) {
        let places = self.places.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        let Some(place) = written.checked_rem(places) else { return };
        let words = record.to_words().map(u64::to_ne_bytes);
        Machine::write_bytes(self.at(place), words.as_flattened());
        self.written.store(written + 1, Ordering::Relaxed);
    }

    fn at(&self, place: u64) -> PhysAddr {
        PhysAddr::new(self.base.load(Ordering::Relaxed)).add(place * RECORD_BYTES)
    }

    /// Records written since the ring was empty.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
    /// Of them, those that made room for others.
    pub(super) fn lost(&self) -> u64 {
        self.written().saturating_sub(self.places.load(Ordering::Relaxed))
    }
    /// Record `n` of those that were written, if it is still there.
    pub(super) fn read(&self, n: u64) -> Option<Record> {
        if n >= self.written() || n < self.lost() {
            return None;
        }
        let mut words = [[0; 8]; 8];
        let place = n.checked_rem(self.places.load(Ordering::Relaxed))?;
        Machine::read_bytes(self.at(place), words.as_flattened_mut());
        Record::from_words(words.map(u64::from_ne_bytes))
    }
}
