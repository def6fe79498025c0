//! Who has which addresses of the vmalloc area. Needs no memory of its own, so it can run out of addresses only.
//!
//! Device registers take addresses upwards and keep them. Stacks of one size class stand in a row of
//! slots of twice the stack's size; the upper half of each slot is never mapped, and is the guard of
//! the stack above it.
//!
//! ```text
//!   | stack | guard | stack | guard | ...      rows follow each other, so that what is below one
//!   ^ base          ^ base + 2 size            is a guard, or not mapped at all
//! ```
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::layout::VMALLOC_BASE;
use arch::{Level, PhysAddr, VirtAddr};

/// Where device registers begin.
pub(super) const DEVICE_BASE: VirtAddr = VMALLOC_BASE;
/// Addresses for device registers: 512 GiB.
const DEVICE_BYTES: u64 = 1 << 39;
/// Where stacks begin.
pub(super) const STACK_BASE: VirtAddr = VMALLOC_BASE.add(DEVICE_BYTES);

/// Stacks of 1, 2, 4, 8 and 16 pages that may exist at a time. Threads have stacks of 8 pages.
pub(super) const SLOTS: [usize; CLASSES] = [1024, 1024, 1024, 8256, 512];
/// Sizes.
const CLASSES: usize = 5;
/// Slots of all sizes.
const ALL_SLOTS: usize = first_slot(CLASSES);
/// One table of level 2 translates all rows.
const _: () = assert!(row_offset(CLASSES) <= Level::L1.entry_bytes());

const WORD_BITS: usize = u64::BITS as usize;

/// Slots of the sizes below a class.
const fn first_slot(class: usize) -> usize {
    if class == 0 { 0 } else { first_slot(class - 1) + SLOTS[class - 1] }
}

/// Where the row of a class begins, counted from [`STACK_BASE`].
const fn row_offset(class: usize) -> u64 {
    if class == 0 {
        0
    } else {
        row_offset(class - 1) + SLOTS[class - 1] as u64 * Class(class - 1).slot_bytes()
    }
}

/// Every row begins at a multiple of its slots' size, and its bits at a word of the map.
const _: () = {
    let mut class = 0;
    while class < CLASSES {
        assert!(row_offset(class).is_multiple_of(Class(class).slot_bytes()));
        assert!(SLOTS[class].is_multiple_of(WORD_BITS));
        class += 1;
    }
};

/// A size of stacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Class(usize);

impl Class {
    /// The class of stacks of `pages` pages.
    pub(super) fn of(pages: u64) -> Self {
        let class = pages.trailing_zeros() as usize;
        let exists = pages.is_power_of_two() && class < CLASSES;
        assert!(exists, "a stack of {pages} pages: 1, 2, 4, 8 and 16 are possible");
        Class(class)
    }
    const fn slot_bytes(self) -> u64 {
        2 * (PAGE_SIZE << self.0)
    }
    fn row(self) -> VirtAddr {
        STACK_BASE.add(row_offset(self.0))
    }
    /// Its words of the map.
    fn words(self) -> core::ops::Range<usize> {
        first_slot(self.0) / WORD_BITS..first_slot(self.0 + 1) / WORD_BITS
    }
}

/// The addresses in use.
#[derive(Debug)]
pub(super) struct Vmalloc {
    device_next: VirtAddr,
    /// A bit for each slot in use.
    stacks: [u64; ALL_SLOTS / WORD_BITS],
}

impl Vmalloc {
    /// Nothing in use.
    pub(super) const fn new() -> Self {
        Vmalloc { device_next: DEVICE_BASE, stacks: [0; ALL_SLOTS / WORD_BITS] }
    }

    /// `bytes` addresses for the registers at `pa`, with an unmapped page above; as far into a 2 MiB block as
    /// `pa` where blocks could map them. `None`: there are no more.
    pub(super) fn take_device(&mut self, pa: PhysAddr, bytes: u64) -> Option<VirtAddr> {
        let block = Level::L2.entry_bytes();
        let mut start = self.device_next;
        if bytes >= block {
            start = start.align_up(block).add(pa.raw() % block);
        }
        let next = start.checked_add(bytes)?.checked_add(PAGE_SIZE)?;
        if next > STACK_BASE {
            return None;
        }
        self.device_next = next;
        Some(start)
    }

    /// The base of an unused stack slot. `None`: all are in use.
    pub(super) fn take_stack(&mut self, class: Class) -> Option<VirtAddr> {
        let words = &mut self.stacks[class.words()];
        let (n, word) = words.iter_mut().enumerate().find(|(_, word)| **word != u64::MAX)?;
        let bit = word.trailing_ones();
        *word |= 1 << bit;
        let slot = (n * WORD_BITS) as u64 + u64::from(bit);
        Some(class.row().add(slot * class.slot_bytes()))
    }

    /// Pages of all stacks in use.
    pub(super) fn stack_pages(&self) -> u64 {
        let used = |class: usize| {
            let words = &self.stacks[Class(class).words()];
            words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() << class
        };
        (0..CLASSES).map(used).sum()
    }

    /// Whether this address, at or above [`STACK_BASE`], lies in a stack that is in use, and not in a guard.
    pub(super) fn is_stack(&self, va: VirtAddr) -> bool {
        let into = va.offset_from(STACK_BASE);
        let Some(class) = (0..CLASSES).rev().find(|&class| row_offset(class) <= into).map(Class) else {
            return false;
        };
        let into_row = va.offset_from(class.row());
        let (slot, into_slot) = (into_row / class.slot_bytes(), into_row % class.slot_bytes());
        let Some(word) = self.stacks[class.words()].get(slot as usize / WORD_BITS) else { return false };
        word >> (slot % WORD_BITS as u64) & 1 != 0 && into_slot < class.slot_bytes() / 2
    }

    /// The slot at `base` is unused again.
    pub(super) fn give_stack(&mut self, base: VirtAddr, class: Class) {
        let slot = (base.offset_from(class.row()) / class.slot_bytes()) as usize;
        let word = &mut self.stacks[class.words()][slot / WORD_BITS];
        let bit = 1 << (slot % WORD_BITS);
        assert!(*word & bit != 0, "no stack is in use at {base}");
        *word &= !bit;
    }
}
