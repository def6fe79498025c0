//! An owner cannot be made of a view, nor the owners of split pages.

use mm::page::{FolioRef, PageRef, SinglePages};

fn make_up(page: PageRef) {
    let _ = FolioRef(page);
    let _ = FolioRef::from_raw(page);
    let _ = page.get();
    let _ = SinglePages::from_raw(page, 4);
}

fn main() {}
