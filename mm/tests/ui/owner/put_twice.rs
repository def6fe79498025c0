//! A reference is given up once.

use mm::Mm;
use mm::page::FolioRef;

fn twice(mm: &Mm, page: FolioRef) {
    mm.put_folio(page);
    mm.put_folio(page);
}

fn main() {}
