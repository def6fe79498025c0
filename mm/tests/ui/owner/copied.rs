//! An owner cannot be copied: what `clone` finds is the view.

use mm::Mm;
use mm::page::FolioRef;

fn copy(mm: &Mm, page: FolioRef) {
    mm.put_folio(page.clone());
    mm.put_folio(page);
}

fn main() {}
