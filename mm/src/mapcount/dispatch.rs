//! The scheme that counts: chosen at boot, or when the kernel is built.
//!
//! [`Mapcount`] is an enum and each of its functions a `match` with the scheme's own function in each arm, so the calls
//! are known to the compiler. A kernel that is built with `make MAPCOUNT_PIN=<word>` has one scheme only: [`PINNED`] is
//! a constant, each `match` has one arm left, and the choice at boot must be the same word.
#![forbid(unsafe_code)]

use arch::{PhysAddr, VirtAddr};

use super::mm_owner::MmOwner;
use super::rfc_v1::{RfcV1, RfcV1Counted};
use super::rfc_v2::RfcV2;
use super::thp_like::ThpLike;
use super::total_mapped::TotalMapped;
use super::vma_pt::{self, VmaPt};
use super::vmacount::Vmacount;
use super::{Answer, Contract, CountFull, MapcountScheme, Place, Remains, Run, Sharing, single};
use crate::Mm;
use crate::config::{Mapcount, TailEncoding};
use crate::page::PageRef;
use crate::stats::Counter;

/// The one scheme that this kernel was built with. `None`: it has all, and the boot choice decides.
pub const PINNED: Option<Mapcount> = match option_env!("QUIRE_MAPCOUNT_PIN") {
    Some(word) if !word.is_empty() => Some(named(word)),
    _ => None,
};

/// The scheme with this name.
const fn named(word: &str) -> Mapcount {
    let mut n = 0;
    while n < Mapcount::ALL.len() {
        if same(Mapcount::WORDS[n].as_bytes(), word.as_bytes()) {
            return Mapcount::ALL[n];
        }
        n += 1;
    }
    panic!("MAPCOUNT_PIN is no value of mapcount=")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

/// Evaluates `$body` with the scheme's type as `$scheme`. The list of all: the choice and the type have one name.
macro_rules! with_scheme {
    ($word:expr, $scheme:ident => $body:expr) => {
        with_scheme!(
            RfcV1 RfcV1Counted RfcV2 ThpLike Vmacount VmaPt MmOwner TotalMapped: $word, $scheme => $body
        )
    };
    ($($way:ident)+: $word:expr, $scheme:ident => $body:expr) => {
        match $word {
            $(Mapcount::$way => {
                type $scheme = $way;
                $body
            })+
        }
    };
}

/// The scheme that the machine was booted with. What it offers beside the functions of this module is the questions.
#[must_use]
#[inline(always)]
pub fn scheme(mm: &Mm) -> Mapcount {
    match PINNED {
        Some(pinned) => pinned,
        None => mm.config.mapcount,
    }
}

/// What [`MapcountScheme`] promises, of single pages too.
impl Mapcount {
    /// How it answers, question by question, for folios of several pages.
    #[must_use]
    pub const fn contract(self) -> Contract {
        with_scheme!(self, S => S::CONTRACT)
    }
    /// Whether counts depend on where entries stand.
    #[must_use]
    pub const fn place(self) -> Place {
        with_scheme!(self, S => S::PLACE)
    }
    /// See [`MapcountScheme::add`].
    #[inline(always)]
    pub fn add(self, run: &Run) {
        if run.head.is_folio() { self.add_of_folio(run) } else { single::add(run) }
    }
    fn add_of_folio(self, run: &Run) {
        with_scheme!(self, S => S::add(run));
    }
    /// See [`MapcountScheme::remove`].
    #[inline(always)]
    pub fn remove(self, run: &Run) -> Remains {
        if run.head.is_folio() { self.remove_of_folio(run) } else { single::remove(run) }
    }
    fn remove_of_folio(self, run: &Run) -> Remains {
        with_scheme!(self, S => S::remove(run))
    }
    /// See [`MapcountScheme::zap`].
    pub fn zap(self, run: &Run) -> Remains {
        if !run.head.is_folio() {
            return single::remove(run);
        }
        with_scheme!(self, S => S::zap(run))
    }
    /// See [`MapcountScheme::split`].
    pub fn split(self, block: &Run, table: PhysAddr) {
        with_scheme!(self, S => S::split(block, table));
    }
    /// See [`MapcountScheme::join`].
    pub fn join(self, pieces: &Run, block: &Run) {
        with_scheme!(self, S => S::join(pieces, block));
    }
    /// See [`MapcountScheme::fold`].
    pub fn fold(self, block: &Run) {
        with_scheme!(self, S => S::fold(block));
    }
    /// See [`MapcountScheme::free`].
    #[must_use]
    pub fn free(self, head: PageRef) -> u32 {
        with_scheme!(self, S => S::free(head))
    }
    /// See [`MapcountScheme::may_add`].
    ///
    /// # Errors
    /// [`CountFull`].
    #[inline]
    pub fn may_add(self, run: &Run) -> Result<(), CountFull> {
        if !run.head.is_folio() {
            return single::may_add(run);
        }
        with_scheme!(self, S => S::may_add(run))
    }
    /// See [`MapcountScheme::count`]; of a single page, its entries.
    #[must_use]
    pub fn count(self, head: PageRef) -> u32 {
        if !head.is_folio() {
            return head.raw_mapcount();
        }
        with_scheme!(self, S => S::count(head))
    }
    /// See [`MapcountScheme::is_mapped`].
    #[must_use]
    #[inline]
    pub fn is_mapped(self, head: PageRef) -> bool {
        if !head.is_folio() {
            return head.raw_mapcount() != 0;
        }
        with_scheme!(self, S => S::is_mapped(head))
    }
    /// See [`MapcountScheme::entries`].
    #[must_use]
    #[inline]
    pub fn entries(self, head: PageRef) -> Answer<u32> {
        if !head.is_folio() {
            return Answer::Exact(head.raw_mapcount());
        }
        with_scheme!(self, S => S::entries(head))
    }
    /// See [`MapcountScheme::page_entries`].
    #[must_use]
    #[inline(always)]
    pub fn page_entries(self, head: PageRef, page: PageRef) -> Answer<u32> {
        if !head.is_folio() {
            return Answer::Exact(head.raw_mapcount());
        }
        self.entries_of_folio_page(head, page)
    }
    fn entries_of_folio_page(self, head: PageRef, page: PageRef) -> Answer<u32> {
        with_scheme!(self, S => S::page_entries(head, page))
    }
    /// See [`MapcountScheme::pages_mapped`].
    #[must_use]
    pub fn pages_mapped(self, head: PageRef) -> Answer<u32> {
        if !head.is_folio() {
            return Answer::Exact(head.raw_mapcount().min(1));
        }
        with_scheme!(self, S => S::pages_mapped(head))
    }
    /// See [`MapcountScheme::sharing`].
    #[must_use]
    #[inline]
    pub fn sharing(self, head: PageRef) -> Answer<Sharing> {
        if !head.is_folio() {
            return single::sharing(head);
        }
        with_scheme!(self, S => S::sharing(head))
    }
    /// [`Self::sharing`] and then [`Self::entries`], by one choice of the scheme.
    #[must_use]
    #[inline]
    pub fn sharing_and_entries(self, head: PageRef) -> (Answer<Sharing>, Answer<u32>) {
        if !head.is_folio() {
            return (single::sharing(head), Answer::Exact(head.raw_mapcount()));
        }
        with_scheme!(self, S => (S::sharing(head), S::entries(head)))
    }
    /// See [`MapcountScheme::page_sharing`].
    #[must_use]
    pub fn page_sharing(self, head: PageRef, page: PageRef) -> Answer<Sharing> {
        if !head.is_folio() {
            return single::sharing(head);
        }
        with_scheme!(self, S => S::page_sharing(head, page))
    }
    /// A VMA was cut at `at`, an address inside `vma`, or two were joined there into `vma`, whose tables `leaf_table`
    /// finds: the level-3 table for an address. Under T, with no change of VMAs or entries between.
    pub fn vma_boundary(
        self,
        tails: TailEncoding,
        change: Boundary,
        at: VirtAddr,
        vma: (VirtAddr, VirtAddr),
        leaf_table: impl FnOnce(VirtAddr) -> Option<PhysAddr>,
    ) {
        if self != Mapcount::VmaPt {
            return;
        }
        let Some(table) = leaf_table(at) else { return };
        vma_pt::boundary(table, at, vma, tails, |head| match change {
            Boundary::Cut => drop(head.add_raw_mapcount(1)),
            Boundary::Joined => drop(head.sub_raw_mapcount(1)),
        });
    }
    /// See [`MapcountScheme::average`]; exact for a single page.
    #[must_use]
    pub fn average(self, head: PageRef) -> u32 {
        if !head.is_folio() {
            return head.raw_mapcount();
        }
        with_scheme!(self, S => S::average(head))
    }
}

/// See [`MapcountScheme::add`].
#[inline]
pub fn add(mm: &Mm, run: &Run) {
    scheme(mm).add(run);
}

/// See [`MapcountScheme::remove`].
#[inline]
pub fn remove(mm: &Mm, run: &Run) -> Remains {
    scheme(mm).remove(run)
}

/// See [`MapcountScheme::zap`].
pub fn zap(mm: &Mm, run: &Run) -> Remains {
    scheme(mm).zap(run)
}

/// See [`MapcountScheme::split`].
pub fn split(mm: &Mm, block: &Run, table: PhysAddr) {
    scheme(mm).split(block, table);
}

/// See [`MapcountScheme::join`].
pub fn join(mm: &Mm, pieces: &Run, block: &Run) {
    scheme(mm).join(pieces, block);
}

/// See [`MapcountScheme::fold`].
pub fn fold(mm: &Mm, block: &Run) {
    scheme(mm).fold(block);
}

/// See [`MapcountScheme::may_add`].
///
/// # Errors
/// [`CountFull`].
#[inline]
pub fn may_add(mm: &Mm, run: &Run) -> Result<(), CountFull> {
    scheme(mm).may_add(run)
}

/// The last reference to a folio is gone; see [`MapcountScheme::free`].
pub(crate) fn free(mm: &Mm, head: PageRef) {
    if head.is_folio() {
        let stranded = scheme(mm).free(head);
        debug_assert!(head.first_tail().kept() == 0, "{head:?} is freed, and its first tail keeps counts");
        mm.stats.add(Counter::MapcountStranded, stranded.into());
    }
}

/// See [`Mapcount::vma_boundary`].
pub fn vma_boundary(
    mm: &Mm,
    change: Boundary,
    at: VirtAddr,
    vma: (VirtAddr, VirtAddr),
    leaf_table: impl FnOnce(VirtAddr) -> Option<PhysAddr>,
) {
    scheme(mm).vma_boundary(mm.config.tails, change, at, vma, leaf_table);
}

/// What became of a boundary between two VMAs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Boundary {
    /// One VMA became two.
    Cut,
    /// Two became one.
    Joined,
}
