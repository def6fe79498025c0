//! Room 4: how often a folio is mapped.
//!
//! A *mapping* is one leaf entry of a user tree, of any size, that maps a part of the folio. Each holds one
//! reference to the folio's head. How mappings are counted is a boot choice ([`Mapcount`]); what a scheme can
//! answer, and how exactly, is the contract of [`MapcountScheme`]. Truth in tests is a scan of all tables.
//!
//! | scheme | mapped at all | leaf entries | of one page of a folio | by one space only |
//! |---|---|---|---|---|
//! | [`rfc_v2`] | exact | exact | upper bound (exact for a single page) | exact for one entry, else unknown |
//!
//! Counts change under the page-table lock of the tree whose entry was made or cleared.
#![forbid(unsafe_code)]

pub mod rfc_v2;

use arch::Order;

use crate::Mm;
use crate::config::Mapcount;
use crate::page::PageRef;

/// How far an answer can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<T> {
    /// This is so, as long as nobody changes the tables.
    Exact(T),
    /// No more than this.
    AtMost(T),
    /// The scheme cannot tell.
    Unknown,
}

/// Who maps a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// One address space, or none.
    Exclusive,
    /// More than one.
    Shared,
}

/// What a way of counting promises. `head` is a single page or the head of a folio; a tail is never given.
/// Answers are exact, or bounds, at the moment of reading; under the locks of all trees that map the folio
/// they stay so.
pub trait MapcountScheme {
    /// `n` leaf entries that map a part of the folio were made. Under T.
    fn add(&self, head: PageRef, n: u32);
    /// `n` leaf entries that mapped a part of the folio were cleared. Under T. Returns how many are left.
    fn remove(&self, head: PageRef, n: u32) -> u32;
    /// Single pages from `head` on, each mapped by one entry or by none, are about to become one folio of
    /// `order` that one entry maps. Their references are frozen. Under T.
    fn fold(&self, head: PageRef, order: Order);
    /// Whether any entry maps any part. Exact in every scheme.
    fn is_mapped(&self, head: PageRef) -> bool;
    /// How many leaf entries map any part: `Exact` or `AtMost`.
    fn entries(&self, head: PageRef) -> Answer<u32>;
    /// How many leaf entries map this one page, which may be a tail of `head`.
    fn page_entries(&self, head: PageRef, page: PageRef) -> Answer<u32>;
    /// Whether one address space alone maps the folio. A wrong `Exclusive` would let a writer into another's
    /// memory, so it is given only as `Exact`; `Unknown` where entries of one or of many spaces look alike.
    fn sharing(&self, head: PageRef) -> Answer<Sharing>;
}

/// See [`MapcountScheme::fold`].
pub fn fold(mm: &Mm, head: PageRef, order: Order) {
    scheme(mm).fold(head, order);
}

/// The scheme that the machine was booted with.
#[must_use]
pub fn scheme(mm: &Mm) -> &'static dyn MapcountScheme {
    match mm.config.mapcount {
        Mapcount::RfcV2 => &rfc_v2::RfcV2,
    }
}

/// `n` leaf entries that map a part of the folio were made. Under T.
pub fn add(mm: &Mm, head: PageRef, n: u32) {
    scheme(mm).add(head, n);
}

/// `n` leaf entries that mapped a part of the folio were cleared. Under T. Returns how many are left.
pub fn remove(mm: &Mm, head: PageRef, n: u32) -> u32 {
    scheme(mm).remove(head, n)
}
