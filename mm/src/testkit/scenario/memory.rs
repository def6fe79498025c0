//! What one vCPU knows of the words that it wrote: it has one word of its own in each page of an area, so it knows
//! what must be read there whatever the others do, but for calls that take the contents away.
#![forbid(unsafe_code)]

use arch::contract::Cpu;
use arch::model::{user_load, user_store};
use arch::{Access, Machine, VirtAddr};

use super::area::Area;
use super::law::Law;
use crate::Mm;
use crate::kalloc::KArc;
use crate::space::AddressSpace;

/// What may stand in a word, and since when that is known.
#[derive(Clone, Debug)]
struct Known {
    /// The values that it may have.
    may: Vec<u64>,
    /// Wipes of the page that had begun by then.
    wipes: u64,
    /// Whether this vCPU ever accessed it.
    used: bool,
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

/// Who makes an access.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// The user of the space that this vCPU runs.
    User,
    /// The kernel on the user's behalf, through the linear map.
    Kernel(&'a Mm, &'a KArc<AddressSpace>),
}

impl By<'_> {
    /// The word at `va`; `None` where the access fails.
    pub(super) fn load(self, va: VirtAddr) -> Option<u64> {
        let mut bytes = [0; 8];
        match self {
            By::User => user_load(va).ok(),
            By::Kernel(mm, space) => {
                mm.read_user(space, va, &mut bytes).ok().map(|()| u64::from_ne_bytes(bytes))
            }
        }
    }
    /// Stores `word`, and returns it; `None` where the access fails.
    pub(super) fn store(self, va: VirtAddr, word: u64) -> Option<u64> {
        let stored = match self {
            By::User => user_store(va, word).is_ok(),
            By::Kernel(mm, space) => mm.write_user(space, va, &word.to_ne_bytes()).is_ok(),
        };
        stored.then_some(word)
    }
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
        let known = vec![Known { may: vec![0], wipes: 0, used: false }; area.len()];
        Memory { known, offset: 8 * cpu as u64, stores: 0 }
    }

    /// Loads its word of a page, and holds the outcome against what is known.
    pub(super) fn load(&mut self, area: &Area, page: usize, by: By<'_>) {
        let (before, word, after, met) = self.access(area, page, Access::Read, |va| by.load(va));
        let known = &mut self.known[page];
        known.used = true;
        known.catch_up(before);
        if met == Met::Change {
            known.add(0);
        }
        if let Some(word) = word {
            assert!(
                known.may.contains(&word),
                "vCPU {} read {word:#x} from page {page} of {area}, where only {:x?} can stand",
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
    pub(super) fn store(&mut self, area: &Area, page: usize, by: By<'_>) {
        self.stores += 1;
        let word = self.stores << 8 | self.offset | 1;
        let (before, stored, after, met) = self.access(area, page, Access::Write, |va| by.store(va, word));
        let known = &mut self.known[page];
        known.used = true;
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

    /// Loads each word that it accessed before.
    pub(super) fn load_all(&mut self, area: &Area) {
        for page in 0..self.known.len() {
            if self.known[page].used {
                self.load(area, page, By::User);
            }
        }
    }

    /// Makes an access, and holds whether it succeeded against the law: before, outcome, after.
    fn access(
        &self,
        area: &Area,
        page: usize,
        access: Access,
        perform: impl FnOnce(VirtAddr) -> Option<u64>,
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
