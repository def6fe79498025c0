//! Spaces that descend from one another, and what is known of their memory.

use std::collections::BTreeMap;

use arch::addr::PAGE_SIZE;
use arch::pte::Kind;
use arch::{Level, Order, PageSize, PhysAddr, VirtAddr};

use crate::Mm;
use crate::check::for_each_block;
use crate::config::{HvoStrategy, MmConfig, ThpMode};
use crate::kalloc::KArc;
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::visit::visit_leaves;
use crate::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use crate::testkit::Builder;

pub(super) const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
pub(super) const BLOCK: u64 = PageSize::Size2M.bytes();
pub(super) const PAGES: u64 = Order::PMD.pages();
pub(super) const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// 64 MiB, four vCPUs; anonymous memory in pages or in blocks.
pub(super) fn machine(thp: ThpMode) -> Builder {
    with(|config| config.thp = thp)
}

pub(super) fn with(change: impl FnOnce(&mut MmConfig)) -> Builder {
    // One way of counting writes tails.
    Builder::new().ram_mib(64).cpus(4).config(|config| config.hvo = HvoStrategy::Off).config(change)
}

/// Address of page `n` from [`BASE`].
pub(super) fn va(n: u64) -> VirtAddr {
    BASE.add(n * PAGE_SIZE)
}

/// A new space with `pages` pages of writable anonymous memory, or of hugetlb, at [`BASE`].
pub(super) fn space(mm: &Mm, pages: u64, flags: MapFlags) -> KArc<AddressSpace> {
    let space = mm.new_space().unwrap();
    let mut request = MmapRequest::anonymous(pages * PAGE_SIZE, RW).fixed(BASE.raw());
    request.flags |= flags;
    mm.mmap(&space, &request).unwrap();
    space
}

/// Stores a word in page `n`, whoever runs.
pub(super) fn store(mm: &Mm, space: &KArc<AddressSpace>, n: u64, word: u64) {
    mm.write_user(space, va(n), &word.to_le_bytes()).unwrap();
}

pub(super) fn load(mm: &Mm, space: &KArc<AddressSpace>, n: u64) -> u64 {
    let mut bytes = [0; 8];
    mm.read_user(space, va(n), &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

/// Level and output address at page `n`.
pub(super) fn leaf(space: &AddressSpace, n: u64) -> Option<(Level, PhysAddr)> {
    let leaf = space.ptl.lock().walk(va(n)).leaf()?;
    Some((leaf.level, leaf.desc.output(leaf.level)))
}

/// The page that is mapped at page `n`, and its head.
pub(super) fn page(mm: &Mm, space: &AddressSpace, n: u64) -> (PageRef, PageRef) {
    let (level, output) = leaf(space, n).unwrap();
    let page = page_of(output.add(va(n).raw() & (level.entry_bytes() - 1)).pfn());
    (page, page.head(mm.config.tails))
}

/// One leaf: the space, the address, the level, the frame.
pub(super) type Entry = (u64, u64, u8, u64);

/// Every leaf of every live space that maps a folio, by the folio: a full scan.
pub(super) fn scan(mm: &Mm) -> BTreeMap<u64, Vec<Entry>> {
    let mut found = BTreeMap::<u64, Vec<Entry>>::new();
    let _: Result<(), ()> = mm.spaces.try_for_each(|space| {
        visit_leaves(space.root(), VirtAddr::new(0), |leaf| {
            if leaf.desc.is_special() {
                return;
            }
            let output = leaf.desc.output(leaf.level).pfn();
            let head = page_of(output).head(mm.config.tails).pfn();
            let entry =
                (space.id, leaf.va.raw(), u8::from(leaf.desc.kind(leaf.level) == Kind::Block), output.raw());
            found.entry(head.raw()).or_default().push(entry);
        });
        Ok(())
    });
    found.values_mut().for_each(|entries| entries.sort_unstable());
    found
}

/// The heads of all folios, and the single pages, that a process may map.
pub(super) fn folios(mm: &Mm) -> Vec<PageRef> {
    let mut found = Vec::new();
    for &bank in mm.ram() {
        for_each_block(bank, |page, kind, _| {
            if matches!(kind, PageKind::Anon | PageKind::Hugetlb) && page.refcount() != 0 {
                found.push(page);
            }
            Ok(())
        })
        .unwrap();
    }
    found
}
