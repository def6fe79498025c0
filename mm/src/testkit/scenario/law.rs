//! What all vCPUs know of a page: what may be done with it, and how often its contents went.
//!
//! ```text
//!   63          32 31           8      2       1    0
//!   +-------------+--------------+-----------+---+---+
//!   | wipes begun | changes begun| changing  | W | R |
//!   +-------------+--------------+-----------+---+---+
//! ```
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use arch::Access;

use crate::space::MapProt;

const READ: u64 = 1;
const WRITE: u64 = 2;
const RIGHTS: u64 = READ | WRITE;
const CHANGING: u64 = 4;
const ONE_CHANGE: u64 = 1 << 8;
const CHANGES: u64 = 0xffff_ff00;
const ONE_WIPE: u64 = 1 << 32;

/// What held for a page at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Law(u64);

impl Law {
    /// Whether a call is under way that changes the page.
    pub(super) fn is_changing(self) -> bool {
        self.0 & CHANGING != 0
    }
    /// How often a change began that takes the contents.
    pub(super) fn wipes(self) -> u64 {
        self.0 >> 32
    }
    /// Whether an access of this kind must succeed; else it must fail.
    pub(super) fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.0 & READ != 0,
            Access::Write => self.0 & WRITE != 0,
            Access::Execute => false,
        }
    }
}

/// What a change does to the contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contents {
    /// They stay.
    Stay,
    /// They go: what is read next are zeros.
    Go,
}

/// The law of each page of an area.
#[derive(Debug)]
pub(super) struct Laws(Vec<AtomicU64>);

impl Laws {
    /// Nothing may be done with any of `pages` pages.
    pub(super) fn new(pages: usize) -> Self {
        Laws((0..pages).map(|_| AtomicU64::new(0)).collect())
    }
    /// How many pages there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
    /// What holds for a page now.
    pub(super) fn at(&self, page: usize) -> Law {
        Law(self.0[page].load(Ordering::SeqCst))
    }

    /// Announces a change of `pages`. `None`: another vCPU changes one of them at this moment.
    pub(super) fn claim(&self, pages: Range<usize>, contents: Contents) -> Option<Claim<'_>> {
        let wipe = if contents == Contents::Go { ONE_WIPE } else { 0 };
        let begin = |law: u64| {
            let changes = law.wrapping_add(ONE_CHANGE) & CHANGES;
            (law & CHANGING == 0).then_some((law & !CHANGES | changes | CHANGING) + wipe)
        };
        let mut claim = Claim { laws: self, pages: pages.start..pages.start, before: Vec::new() };
        for page in pages {
            match self.0[page].fetch_update(Ordering::SeqCst, Ordering::SeqCst, begin) {
                Ok(before) => claim.before.push(before),
                Err(_) => {
                    claim.abandon();
                    return None;
                }
            }
            claim.pages.end = page + 1;
        }
        Some(claim)
    }
}

/// Pages that one vCPU changes, and their laws of before.
#[must_use = "the change must be settled or abandoned"]
pub(super) struct Claim<'l> {
    laws: &'l Laws,
    pages: Range<usize>,
    before: Vec<u64>,
}

impl Claim<'_> {
    /// The change is complete: from now on these rights hold, or where `prot` is `None` those of before.
    pub(super) fn settle(self, prot: Option<MapProt>) {
        let rights = prot.map(|prot| u64::from((prot & (MapProt::READ | MapProt::WRITE)).bits()));
        for page in self.pages {
            let law = self.laws.0[page].load(Ordering::SeqCst) & !CHANGING;
            let law = rights.map_or(law, |rights| law & !RIGHTS | rights);
            self.laws.0[page].store(law, Ordering::SeqCst);
        }
    }
    /// Pages below `page` have these rights now; the others were not changed.
    pub(super) fn settle_below(mut self, page: usize, prot: MapProt) {
        let done = page.clamp(self.pages.start, self.pages.end) - self.pages.start;
        let before = self.before.split_off(done);
        let pages = self.pages.start + done..self.pages.end;
        Claim { laws: self.laws, pages: pages.clone(), before }.abandon();
        self.pages.end = pages.start;
        self.settle(Some(prot));
    }
    /// Nothing was changed.
    pub(super) fn abandon(self) {
        for (page, law) in self.pages.zip(self.before) {
            self.laws.0[page].store(law, Ordering::SeqCst);
        }
    }
}
