//! Every allocation fails once.

use super::*;
use crate::space::{Advice, MmapError};
use crate::testkit::fail_every_allocation;
use crate::thp::{khugepaged, reclaim};

/// Reserve, promote, collapse, split and release, with every allocation failing in turn: no page is lost, and what was
/// written is there or the write itself has failed.
#[test]
fn no_failure_loses_a_page() {
    for pages in [1, 3] {
        let failed = fail_every_allocation(&threshold(pages), |_| (), |mm, ()| life_of_a_space(mm));
        assert!(failed >= 6, "only {failed} allocations were failed");
    }
}

/// khugepaged with every allocation failing in turn: the range is huge or as it was, and what was written is there.
#[test]
fn no_failure_of_a_scan_loses_a_page() {
    let machine = threshold(512).config(|config| config.thp = crate::config::ThpMode::Defer);
    let failed = fail_every_allocation(
        &machine,
        |_| (),
        |mm, ()| {
            let space = mm.new_space()?;
            let result = scan_a_space(mm, &space);
            mm.destroy_space(&space);
            result
        },
    );
    assert!(failed >= 6, "only {failed} allocations were failed");
}

fn scan_a_space(mm: &Mm, space: &KArc<AddressSpace>) -> Result<(), MmapError> {
    let request = MmapRequest::anonymous(RANGES * RANGE_BYTES, MapProt::READ | MapProt::WRITE);
    mm.mmap(space, &request.fixed(BASE.raw()))?;
    let pages = [0, 1, 511, RANGE_PAGES];
    let write =
        |page| mm.write_user(space, va(page), &word(page).to_le_bytes()).map_err(|_| MmapError::OutOfMemory);
    pages.into_iter().try_for_each(write)?;
    let collapsed = khugepaged::scan(mm, RANGES * RANGE_PAGES);
    for page in pages {
        let mut bytes = [0; 8];
        mm.read_user(space, va(page), &mut bytes).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), word(page), "page {page}");
    }
    mm.check_all().unwrap();
    if collapsed == 2 { Ok(()) } else { Err(MmapError::OutOfMemory) }
}

fn life_of_a_space(mm: &Mm) -> Result<(), MmapError> {
    let space = mm.new_space()?;
    let result = use_space(mm, &space);
    mm.destroy_space(&space);
    result
}

fn use_space(mm: &Mm, space: &KArc<AddressSpace>) -> Result<(), MmapError> {
    let request = MmapRequest::anonymous(RANGES * RANGE_BYTES, MapProt::READ | MapProt::WRITE);
    mm.mmap(space, &request.fixed(BASE.raw()))?;
    let mut written = Vec::new();
    for page in [0, 1, 2, 3, RANGE_PAGES, RANGE_PAGES + 1] {
        if mm.write_user(space, va(page), &word(page).to_le_bytes()).is_ok() {
            written.push(page);
        }
    }
    let _ = mm.madvise(space, va(RANGE_PAGES).raw(), RANGE_BYTES, Advice::Collapse);
    promoter::drain(mm);
    reclaim::drop_reservations(mm);
    let mut result = mm.munmap(space, va(3).raw(), PAGE_SIZE);
    result = result.and(mm.madvise(space, va(100).raw(), PAGE_SIZE, Advice::DontNeed));
    if result.is_ok() {
        written.retain(|&page| page != 3);
    }
    for page in written.iter().copied().filter(|&page| page != 3) {
        let mut bytes = [0; 8];
        mm.read_user(space, va(page), &mut bytes).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), word(page), "page {page}");
    }
    mm.check_all().unwrap();
    result
}
