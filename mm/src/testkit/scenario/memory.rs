//! What one vCPU knows of the words that it wrote: it has one word of its own in each page of an area, so it knows
//! what must be read there whatever the others do, but for calls that take the contents away.
#![forbid(unsafe_code)]

use arch::contract::Cpu;
use arch::model::{user_load, user_store};
use arch::{Access, Machine};

use super::area::Area;
use super::law::Law;

/// What may stand in a word, and since when that is known.
#[derive(Clone, Debug)]
struct Known {
    /// The values that it may have.
    may: Vec<u64>,
    /// Wipes of the page that had begun by then.
    wipes: u64,
}

impl Known {
    /// Takes in what has become of the page since.
    fn catch_up(&mut self, law: Law) {
        if law.wipes() > self.wipes {
            if !law.is_changing() {
                self.may.clear();
            }
            self.add(0);
        }
    }
    fn add(&mut self, value: u64) {
        if !self.may.contains(&value) {
            self.may.push(value);
        }
    }
}

/// What this vCPU knows of one area.
#[derive(Debug)]
pub(super) struct Memory {
    known: Vec<Known>,
    /// Where its word stands in a page.
    offset: u64,
    stores: u64,
}

/// How an access and the changes of its page lay to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Met {
    /// No change was under way, none came between.
    Nothing,
    /// A change.
    Change,
}

impl Memory {
    /// vCPU `cpu` has not seen any page of the area, which has never been used.
    pub(super) fn new(area: &Area, cpu: usize) -> Self {
        let known = vec![Known { may: vec![0], wipes: 0 }; area.len()];
        Memory { known, offset: 8 * cpu as u64, stores: 0 }
    }

    /// Loads its word of a page, and holds the outcome against what is known.
    pub(super) fn load(&mut self, area: &Area, page: usize) {
        let (before, word, after, met) = self.access(area, page, Access::Read, |va| user_load(va).ok());
        let known = &mut self.known[page];
        known.catch_up(before);
        if met == Met::Change {
            known.add(0);
        }
        if let Some(word) = word {
            assert!(
                known.may.contains(&word),
                "vCPU {} read {word:#x} from page {page} of {area}, where only {:#x?} can stand ({before:?}, {met:?})",
                Machine::id(),
                known.may,
            );
            known.may.clear();
            known.add(word);
            if met == Met::Change {
                known.add(0);
            }
        }
        known.wipes = after.wipes();
    }

    /// Stores a word that it never stored before to a page.
    pub(super) fn store(&mut self, area: &Area, page: usize) {
        self.stores += 1;
        let word = self.stores << 8 | self.offset | 1;
        let store = |va| user_store(va, word).ok().map(|()| word);
        let (before, stored, after, met) = self.access(area, page, Access::Write, store);
        let known = &mut self.known[page];
        known.catch_up(before);
        if stored.is_some() {
            known.may.clear();
            known.add(word);
        }
        if met == Met::Change {
            known.add(0);
        }
        known.wipes = after.wipes();
    }

    /// Makes an access, and holds whether it succeeded against the law: before, outcome, after.
    fn access(
        &self,
        area: &Area,
        page: usize,
        access: Access,
        perform: impl FnOnce(arch::VirtAddr) -> Option<u64>,
    ) -> (Law, Option<u64>, Law, Met) {
        let before = area.law(page);
        let outcome = perform(area.va(page).add(self.offset));
        let after = area.law(page);
        let met = if before == after && !before.is_changing() { Met::Nothing } else { Met::Change };
        if met == Met::Nothing {
            let right = match outcome {
                Some(_) => before.allows(access),
                None => !before.allows(access) || area.may_run_short(),
            };
            assert!(
                right,
                "vCPU {}: a {access:?} of page {page} of {area} {}, although the call that decided otherwise had returned",
                Machine::id(),
                if outcome.is_some() { "succeeded" } else { "failed" },
            );
        }
        (before, outcome, after, met)
    }
}
