//! Struct pages.
#![forbid(unsafe_code)]

use core::fmt;

use mm::page::{Flags, PageRef};

use crate::println;

/// Prints a struct page, in two lines. `head` is the head of its folio; itself for a single page.
pub fn struct_page(page: PageRef, head: PageRef) {
    let (pfn, memory) = (page.pfn().raw(), page.pfn().phys().raw());
    println!("    pfn {pfn:#x} (memory at {memory:#x}), struct page at {}", page.address());
    println!("        {}", Fields { page, head });
}

/// The fields of a struct page, in a line.
struct Fields {
    page: PageRef,
    head: PageRef,
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { page, head } = *self;
        let flags = page.flags();
        let flag = |bit, word| if flags.contains(bit) { word } else { "" };
        write!(f, "{}, order {}", page.kind().name(), page.order())?;
        write!(f, "{}{}", flag(Flags::HEAD, ", head"), flag(Flags::HVO, ", optimised"))?;
        if head != page {
            write!(f, ", tail of pfn {:#x}", head.pfn().raw())?;
        }
        write!(f, "; references {}, mapcount {}", page.refcount(), page.raw_mapcount())?;
        write!(f, ", pins {}; mapping {}, index {:#x}", page.pincount(), page.mapping(), page.index())
    }
}
