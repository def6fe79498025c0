//! Nor does the view that an owner gives.

use mm::Mm;
use mm::page::FolioRef;

fn put(mm: &Mm, owner: &FolioRef) {
    mm.put_folio(owner.page());
    mm.put_folio(**owner);
}

fn main() {}
