//! What fork copies at once: pages that somebody has pinned.
//!
//! A device that was told of a page goes on to use that page, whatever the tables say later. Were it shared, the first
//! write after the fork would give the parent another page than the device has. So the parent keeps the page, writable
//! as it was, and the child gets its own copy now (Linux: `copy_present_page`). Of a block, the child gets single
//! pages, of a hugetlb folio a folio that the pool can spare.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Desc, Level, Machine, Order, PhysMem, VirtAddr};

use super::ForkError;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::hugetlb;
use crate::mapcount;
use crate::page::{FolioRef, PageKind};
use crate::pgtable::TableStock;
use crate::space::{AddressSpace, Vma, range};

/// Copies what `leaf` of `level` maps at `va`, and maps the copy in the child. M of the parent is held, so the leaf
/// stays; no spinlock is.
pub(super) fn copy_leaf(
    mm: &Mm,
    child: &AddressSpace,
    vma: &Vma,
    (va, level, leaf): (VirtAddr, Level, Desc),
) -> Result<(), ForkError> {
    let from = leaf.output(level);
    if let Some(folio) = hugetlb::copy_for_fork(mm, leaf, level)? {
        return Ok(hugetlb::map_copy(mm, child, vma, va, folio)?);
    }
    for at in (0..level.entry_bytes()).step_by(PAGE_SIZE as usize) {
        let page = mm.alloc_pages(Order::PAGE, PageKind::Anon)?;
        Machine::copy(page.pfn().phys(), from.add(at), PAGE_SIZE);
        give(mm, child, vma, (va.add(at), Level::L3), page)?;
        child.add_anon(mm, 1);
    }
    Ok(())
}

/// The child's entry for a copy.
fn give(
    mm: &Mm,
    child: &AddressSpace,
    vma: &Vma,
    (va, level): (VirtAddr, Level),
    copy: FolioRef,
) -> Result<(), ForkError> {
    let made = make(mm, child, vma, (va, level), &copy);
    match made {
        // The reference is the entry's.
        Ok(()) => copy.leave(),
        Err(_) => mm.put_folio(copy),
    }
    Ok(made?)
}

fn make(
    mm: &Mm,
    child: &AddressSpace,
    vma: &Vma,
    (va, level): (VirtAddr, Level),
    copy: &FolioRef,
) -> Result<(), OutOfMemory> {
    let missing = (level as usize + 1).saturating_sub(child.ptl.lock().walk(va).steps().len());
    let mut stock = TableStock::new(mm, missing)?;
    let leaf = range::leaf_for(mm, copy.pfn().phys(), level, vma.prot);
    copy.set_mapping(child.id, vma.index_of(va));
    let mut tree = child.ptl.lock();
    let entry = tree.entry_or_table(child.flusher(mm), va, level, &mut stock).map_err(|_| OutOfMemory)?;
    mapcount::add(mm, &range::run_of(child, vma, &entry, copy.page()));
    entry.make(leaf);
    Ok(())
}
