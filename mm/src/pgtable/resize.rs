//! A table and a block that translate alike replace each other without a break, where FEAT_BBM is level 2 or more.
//!
//! ```text
//!   break-before-make    [ table ] -> [ . ] -> flush -> [ block ]     no translation between: accesses fault, and wait
//!   direct               [ table ] -> [ block ] -> flush              a translation always
//! ```
//! Until the flush a TLB may hold entries of both sizes. They say the same, so either will do (Arm ARM D8.16, R_PVTFW,
//! I_HYQMB); but at level 2 an access may take a TLB conflict abort instead, which the fault handler resolves: it waits
//! for the lock of the tree, so for the flush, and has the access tried again. At level 3 there is none.
//!
//! Translating *alike* is asked of all 512 entries: each maps its part of the block with the same attributes. Where
//! one is missing, or grants less, the two differ in more than size, and only a break will do at any level
//! ([`arch::bbm`], rows 9 to 12). Debug builds compare.
#![forbid(unsafe_code)]

use arch::features::BbmLevel;
use arch::{Desc, Machine, Mmu};

use super::entry::{Entry, Owed};
use super::unlinked::Displaced;

/// Whether an entry may be replaced by one of another size without a break, if both translate alike.
#[must_use]
pub fn may_resize() -> bool {
    Machine::features().bbm >= BbmLevel::Level2
}

/// An entry that was replaced. TLBs may hold what it was yet, until this is flushed or dropped.
#[must_use = "what stood there may be held by TLBs until it is flushed"]
pub struct Resized<'l> {
    old: Displaced<1>,
    owed: Owed<'l>,
}

impl<'l> Entry<'l> {
    /// Replaces the table or block that stands here by `new`, a block or table that translates all addresses as it
    /// does.
    /// [`may_resize`] holds.
    pub fn resize(self, new: Desc) -> Resized<'l> {
        let (old, owed) = (self.desc(), self.owed());
        let level = self.level();
        self.store(new);
        Resized { old: Displaced::new([old], level), owed }
    }
}

impl Resized<'_> {
    /// Removes what the entry was from every TLB, and waits until no CPU uses it.
    pub fn flush(self) -> Displaced<1> {
        let Resized { old, owed } = self;
        owed.pay();
        old
    }
}
