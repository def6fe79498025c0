//! A view of a page frees nothing, wherever it comes from.

use arch::Order;
use mm::Mm;
use mm::page::PageRef;

fn put(mm: &Mm, page: PageRef) {
    mm.put_folio(page);
    mm.free_pages(page, Order::PAGE);
}

fn main() {}
