//! An owner reads what it owns, splits it, keeps it on a list, and gives it up once; a view stays a view.

use arch::Order;
use mm::page::{FolioList, FolioRef, PageKind, PageRef};
use mm::testkit;

fn main() {
    testkit::boot(|mm| {
        let free = mm.free_page_count();
        let block = mm.alloc_pages(Order::new(2), PageKind::Kernel).unwrap();
        let view: PageRef = block.page();
        let mut list = FolioList::new();
        mm.split_page(block, Order::new(2)).for_each(|single| list.push(single));
        assert_eq!((list.len(), view.refcount()), (4, 1));
        while let Some(page) = list.pop() {
            mm.free_pages(page, Order::PAGE);
        }
        let page = mm.alloc_pages(Order::PAGE, PageKind::Kernel).unwrap();
        let another: FolioRef = mm.try_get_folio(page.pfn()).unwrap();
        mm.put_folio(page);
        mm.put_folio(another);
        assert_eq!(mm.free_page_count(), free);
    });
}
