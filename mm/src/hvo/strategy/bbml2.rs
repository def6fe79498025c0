//! No entry is broken: read-only first, then the bytes behind both addresses made equal, then the other address.
//!
//! A change of the output address needs no break where neither the old nor the new entry grants write, and the bytes
//! are the same (Arm ARM R_WHZWS, second bullet). So the entries lose write permission, and are flushed; what they map is
//! written through the linear map until it holds the same as what they are to map; then the address changes. On the way
//! back the bytes are equal first, and tails again before the entry is writable.
//!
//! It is named for what it needs where blocks map vmemmap: FEAT_BBM level 2, to put a table in the place of a block.
//!
//! The copy is what `tails=pointer` needs, where the shared page is that of the head: while it is written, a reader of a
//! tail finds either the tail, or a fake head, which leads to the same head. The head's own page is not written
//! meanwhile: the folio is frozen. A grace period comes first, as in [`super::alias`].
#![forbid(unsafe_code)]

use super::Strategy;
use crate::Mm;
use crate::hvo::batch::Batch;
use crate::hvo::divide::Division;
use crate::hvo::hold;
use crate::hvo::window::{Equal, Window};

/// The strategy.
#[derive(Debug)]
pub struct Bbml2;

impl Strategy for Bbml2 {
    fn prepare(&self, mm: &Mm) {
        hold::grace_period(mm);
    }
    fn optimise(&self, mm: &Mm, batch: &Batch) {
        Window::with(mm, |window| window.share_by_rights(batch, Equal::Copied));
    }
    fn restore(&self, mm: &Mm, batch: &Batch) {
        Window::with(mm, |window| window.unshare_by_rights(batch, Equal::Copied));
    }
    fn divide(&self, mm: &Mm, division: &Division) {
        Window::with(mm, |window| window.divide_by_rights(division));
    }
}
