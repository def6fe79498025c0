//! Words that one vCPU each writes, and what may be read in them at a moment when contents are taken away.
//!
//! Each vCPU writes rising numbers, never one twice, whatever space or device it writes them through. So a number that
//! is read in the wrong place, or too late, is never one that may stand there.
//!
//! ```text
//!   a word that stands for sure                    v in [sure, begun]
//!   a wipe of it has begun since                   v = 0, or v in (dead, begun]
//!                                                              `-- what had been written before the last wipe
//!                                                                  that has ended began: it is gone for good
//!
//!   63              16 15    8 7    4 3    0
//!   +-----------------+-------+------+------+
//!   |     number      | page  | vCPU | kind |
//!   +-----------------+-------+------+------+
//! ```
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::stage::CPUS;
use crate::hugetlb::HugeSize;

/// Which of the words of a vCPU in a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// Written through shared mappings, devices and descriptors: the object's.
    Object,
    /// Written through private mappings: no business of the object.
    Copy,
    /// Written by a device to the object's word of a frame that nobody maps any more.
    Orphan,
}

/// Of which pages an object is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Of 4 KiB. The words of a page stand side by side.
    Page,
    /// Of hugetlb. The words of a page stand far apart, those of each vCPU in a part of their own.
    Huge(HugeSize),
}

impl Unit {
    /// Bytes of a page.
    pub(super) const fn bytes(self) -> u64 {
        match self {
            Unit::Page => PAGE_SIZE,
            Unit::Huge(size) => size.bytes(),
        }
    }
    /// The size, where it is hugetlb's.
    pub(super) const fn huge(self) -> Option<HugeSize> {
        match self {
            Unit::Page => None,
            Unit::Huge(size) => Some(size),
        }
    }
    /// From one vCPU's word to the next one's.
    const fn apart(self) -> u64 {
        match self {
            Unit::Page => 8,
            Unit::Huge(size) => size.bytes() / CPUS as u64,
        }
    }
}

/// Where a word stands, and who writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) page: usize,
    pub(super) cpu: usize,
    pub(super) whose: Whose,
}

impl Place {
    /// Offset in its page.
    pub(super) const fn offset(self, unit: Unit) -> u64 {
        let row = if matches!(self.whose, Whose::Copy) { 64 } else { 0 };
        row + unit.apart() * self.cpu as u64
    }
    /// Its address, where the first page is at `base`.
    pub(super) const fn va(self, base: VirtAddr, unit: Unit) -> VirtAddr {
        base.add(self.in_object(unit))
    }
    /// Offset in the object.
    pub(super) const fn in_object(self, unit: Unit) -> u64 {
        self.page as u64 * unit.bytes() + self.offset(unit)
    }
    const fn mark(self) -> u64 {
        (self.page as u64) << 8 | (self.cpu as u64) << 4 | (self.whose as u64 + 1)
    }
    /// What is stored there for a number.
    pub(super) const fn word(self, number: u64) -> u64 {
        number << 16 | self.mark()
    }
    /// The number of a word that was read there; 0: nothing was stored.
    ///
    /// # Panics
    /// It was stored elsewhere.
    pub(super) fn number(self, word: u64) -> u64 {
        assert!(
            word == 0 || word & 0xffff == self.mark(),
            "{word:#x} was read in {self:?}, but stored elsewhere"
        );
        word >> 16
    }
}

/// The numbers that vCPUs give out.
#[derive(Default)]
pub(super) struct Clock {
    begun: [AtomicU64; CPUS],
    ended: [AtomicU64; CPUS],
}

impl Clock {
    /// The next number of a vCPU, whose store of it begins.
    pub(super) fn begin(&self, cpu: usize) -> u64 {
        self.begun[cpu].fetch_add(1, Ordering::SeqCst) + 1
    }
    /// Its store has ended.
    pub(super) fn end(&self, cpu: usize, number: u64) {
        self.ended[cpu].store(number, Ordering::SeqCst);
    }
    /// The last number that a vCPU has begun to store anywhere.
    pub(super) fn last(&self, cpu: usize) -> u64 {
        self.begun[cpu].load(Ordering::SeqCst)
    }
    /// Of each vCPU the number up to which all stores have ended.
    pub(super) fn ended(&self) -> [u64; CPUS] {
        self.ended.each_ref().map(|ended| ended.load(Ordering::SeqCst))
    }
}

/// Calls that take contents away, of one word or of all words of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wipes {
    begun: u64,
    ended: u64,
    /// Of those that have ended: those that did what they should.
    done: u64,
    dead: [u64; CPUS],
}

impl Wipes {
    /// None.
    pub(super) const NONE: Wipes = Wipes { begun: 0, ended: 0, done: 0, dead: [0; CPUS] };

    pub(super) fn begin(&mut self) {
        self.begun += 1;
    }
    /// One has ended. With `dead`: it has done what it should, and what [`Clock::ended`] said when it began is gone.
    pub(super) fn end(&mut self, dead: Option<&[u64; CPUS]>) {
        self.ended += 1;
        self.done += u64::from(dead.is_some());
        for (mine, dead) in self.dead.iter_mut().zip(dead.into_iter().flatten()) {
            *mine = (*mine).max(*dead);
        }
    }
    /// None yet, of a child that inherits: what is dead in the parent is dead in it.
    pub(super) fn inherited(&self) -> Wipes {
        Wipes { dead: self.dead, ..Wipes::NONE }
    }
    /// How far they have come, for the words of a vCPU.
    pub(super) const fn stamp(&self, cpu: usize) -> Stamp {
        Stamp { begun: self.begun, ended: self.ended, done: self.done, dead: self.dead[cpu] }
    }
}

/// How far the wipes of a word have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// Those that have begun.
    pub(super) begun: u64,
    ended: u64,
    /// Those that have ended and done what they should.
    pub(super) done: u64,
    dead: u64,
}

impl Stamp {
    /// Wipes of two sorts.
    pub(super) fn and(self, other: Stamp) -> Stamp {
        Stamp {
            begun: self.begun + other.begun,
            ended: self.ended + other.ended,
            done: self.done + other.done,
            dead: self.dead.max(other.dead),
        }
    }
    /// None is under way.
    pub(super) fn is_quiet(self) -> bool {
        self.begun == self.ended
    }
    /// None is under way, and none has begun by `after`.
    pub(super) fn is_quiet_until(self, after: Stamp) -> bool {
        self.is_quiet() && self.begun == after.begun
    }
}

/// What may stand in a word, but for wipes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// The last number that its writer has begun to store.
    begun: u64,
    /// A number that stood there when so many wipes had begun and ended.
    sure: Option<(u64, u64)>,
}

impl Word {
    /// Zeros.
    pub(super) const ZERO: Word = Word { begun: 0, sure: Some((0, 0)) };

    /// Its writer begins to store a number; what it had begun before.
    pub(super) fn begin(&mut self, number: u64) -> u64 {
        std::mem::replace(&mut self.begun, number)
    }
    /// The number is stored.
    pub(super) fn end(&mut self, number: u64, before: Stamp, after: Stamp) {
        if before.is_quiet_until(after) {
            self.sure = Some((number, after.begun));
        }
    }
    /// It was not stored.
    pub(super) fn refused(&mut self, earlier: u64) {
        self.begun = earlier;
    }

    /// Whether a load might give `number`: it began when the word and its wipes were `self` and `before`, and ended
    /// when they were `now` and `after`. `last` is the last number that the writer has begun to store anywhere.
    pub(super) fn allows(&self, number: u64, now: &Word, (before, after): (Stamp, Stamp), last: u64) -> bool {
        let most = if before.is_quiet_until(after) { self.begun.max(now.begun) } else { last };
        match self.sure {
            Some((least, at)) if at == after.begun => (least..=most).contains(&number),
            _ => number == 0 || (before.dead < number && number <= most),
        }
    }
    /// Its writer has read `number`, and stores nothing meanwhile: that is it.
    pub(super) fn learn(&mut self, number: u64, before: Stamp, after: Stamp) {
        if before.is_quiet_until(after) {
            *self = Word { begun: number, sure: Some((number, after.begun)) };
        }
    }

    /// The word of a child: the fork began when the parent's was `self` and `before`, and ended when it was `now` and
    /// `after`. The child's wipes are `child` now, and know what was dead before. `last` as for [`Self::allows`].
    pub(super) fn inherited(
        &self,
        now: &Word,
        (before, after): (Stamp, Stamp),
        child: Stamp,
        last: u64,
    ) -> Word {
        let begun = if before.is_quiet_until(after) { self.begun.max(now.begun) } else { last };
        let stands = self.sure.filter(|&(_, at)| at == after.begun);
        Word { begun, sure: stands.map(|(number, _)| (number, child.begun)) }
    }
}
