//! A range begins inside a page.
//!
//! ```text
//!     TLBI RVAAE1IS KVA + 64, 1 page       refused
//! ```
//! The operand has no room for the lower bits: the range would begin and end elsewhere than was meant
//! (FEAT_TLBIRANGE, BaseADDR).

use tests::lab::*;

/// Where it begins.
pub(crate) const SENTENCE: &str = "model: TLBI range from 0xffff900000200040, not a page";

/// Names a struct page where a page is wanted.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |_| {
        let (start, pages) = (KVA.add(64), 1);
        let (tag, depth, level) = (Tag::AllAsids, Depth::LeafOnly, None);
        Machine::tlbi(Tlbi::Range { start, pages, tag, depth, level }, FlushScope::Broadcast);
    });
}
