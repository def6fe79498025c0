//! Does what each row says.

use arch::addr::PAGE_SIZE;
use arch::{Access, Desc, Level, Order, Pfn, PhysMem, VirtAddr};

use super::super::table::{Count, EntryKind, Fork, Munmap, Pin, PrivateWrite, Row, Semantics, Smaps};
use super::super::{Entries, Sharing, TABLE};
use crate::Mm;
use crate::config::{HvoStrategy, Mapcount, MmConfig};
use crate::fault::{FaultInfo, FaultReason, Signal};
use crate::kalloc::KArc;
use crate::kalloc::inject::Failing;
use crate::page::{FolioRef, PageKind, PageRef, page_of};
use crate::pgtable::normal_folio;
use crate::report::frames::kpf;
use crate::report::pagemap::{FILE, PFN};
use crate::space::{AddressSpace, Advice, Errno, MapFlags, MapProt, MmapError, MmapRequest};
use crate::testkit::{Builder, check, exhaust};

const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const AT: VirtAddr = VirtAddr::new(0x4000_1000);
/// The page before it, which the same table translates.
const BEFORE: VirtAddr = VirtAddr::new(0x4000_0000);
/// A frame that is no RAM.
const OUTSIDE: Pfn = Pfn::new(0x9000);
/// What the device's memory holds.
const MARK: u64 = 0x1122_3344_5566_7788;

/// The device's own memory.
struct Memory {
    page: FolioRef,
    vmalloc: VirtAddr,
}

impl Memory {
    fn new(mm: &Mm) -> Self {
        let memory = Memory {
            page: mm.alloc_zeroed_page(PageKind::Kernel).unwrap(),
            vmalloc: mm.alloc_stack(1).unwrap(),
        };
        for kind in [EntryKind::KernelPage, EntryKind::VmallocPage] {
            arch::Machine::write_bytes(memory.frame(mm, kind).phys(), &MARK.to_le_bytes());
        }
        memory
    }
    fn end(self, mm: &Mm) {
        mm.free_stack(self.vmalloc, 1);
        mm.free_pages(self.page, Order::PAGE);
    }
    /// The frame of an entry of this kind.
    fn frame(&self, mm: &Mm, kind: EntryKind) -> Pfn {
        match kind {
            EntryKind::OutsideFrame => OUTSIDE,
            EntryKind::RamFrame | EntryKind::KernelPage | EntryKind::PrivateCopy => self.page.pfn(),
            EntryKind::VmallocPage => {
                let leaf = mm.with_kernel_tree(|tree, _| tree.walk(self.vmalloc).leaf()).unwrap();
                leaf.desc.output(leaf.level).pfn()
            }
        }
    }
}

/// One row, in a VMA of one sharing.
struct Case<'c> {
    mm: &'c Mm,
    space: KArc<AddressSpace>,
    memory: &'c Memory,
    row: Row,
    sharing: Sharing,
}

impl Case<'_> {
    /// Maps the row's entry; a private copy by a write to what the VMA can hold.
    fn map(&self) -> Result<(), MmapError> {
        let Case { mm, space, memory, row, sharing } = self;
        let flags = match sharing {
            Sharing::Shared => MapFlags::SHARED,
            Sharing::Private => MapFlags::PRIVATE,
        };
        let request = MmapRequest { flags, ..MmapRequest::anonymous(PAGE_SIZE, RW) }.fixed(AT.raw());
        let frame = memory.frame(mm, row.entry);
        mm.mmap_device(space, &request, row.vma, |inserter| match (row.entry, row.vma) {
            (EntryKind::OutsideFrame | EntryKind::RamFrame, _)
            | (EntryKind::PrivateCopy, Entries::PfnMap) => inserter.frame(0, frame),
            _ => inserter.page(0, page_of(frame)),
        })?;
        if row.entry == EntryKind::PrivateCopy {
            self.write(0x99).unwrap();
        }
        check(mm);
        Ok(())
    }
    fn unmap(&self) {
        self.mm.munmap(&self.space, AT.raw(), PAGE_SIZE).unwrap();
        check(self.mm);
    }
    /// Runs `f` on a fresh mapping.
    fn mapped<R>(&self, f: impl FnOnce() -> R) -> R {
        self.map().unwrap();
        let result = f();
        check(self.mm);
        self.unmap();
        result
    }
    fn leaf_of(space: &AddressSpace) -> Desc {
        space.ptl.lock().walk(AT).leaf().unwrap().desc
    }
    fn leaf(&self) -> Desc {
        Self::leaf_of(&self.space)
    }
    /// The page that is mapped, where it may be looked at.
    fn page(&self) -> Option<PageRef> {
        normal_folio(self.mm, self.leaf(), Level::L3)
    }
    /// References and mappings of the device's page, whatever is mapped.
    fn counts(&self) -> (u32, u32) {
        let frame = self.memory.frame(self.mm, self.row.entry);
        if !self.mm.pfn_valid(frame) {
            return (0, 0);
        }
        (page_of(frame).refcount(), page_of(frame).raw_mapcount())
    }
    fn write(&self, value: u64) -> Result<(), FaultReason> {
        self.mm.write_user(&self.space, AT, &value.to_le_bytes()).map_err(|error| error.reason)
    }
    fn read(space: &KArc<AddressSpace>, mm: &Mm) -> u64 {
        let mut bytes = [0; 8];
        mm.read_user(space, AT, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }
    fn word_in_memory(&self) -> u64 {
        let mut bytes = [0; 8];
        arch::Machine::read_bytes(self.memory.frame(self.mm, self.row.entry).phys(), &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn run(&self) {
        let Some(semantics) = self.row.semantics else {
            assert_eq!(self.map().unwrap_err().errno(), Errno::Inval);
            assert_eq!(self.space.vma_count(), 0);
            return;
        };
        self.counting(&semantics);
        self.pinning(semantics.pin);
        self.writing(semantics.private_write);
        self.forking(semantics.fork);
        self.reporting(semantics.smaps);
        self.kept_rights(&semantics);
    }

    /// References, mappings, and what munmap gives back.
    fn counting(&self, semantics: &Semantics) {
        let before = self.counts();
        self.mapped(|| {
            let copied = self.row.entry == EntryKind::PrivateCopy;
            match semantics.count {
                Count::Nobody => {
                    assert_eq!((self.page(), self.counts()), (None, before));
                    assert!(self.leaf().is_special());
                }
                Count::Entry if copied => {
                    let page = self.page().unwrap();
                    assert_eq!((page.kind(), page.refcount(), page.raw_mapcount()), (PageKind::Anon, 1, 1));
                }
                Count::Entry => assert_eq!(self.counts(), (before.0 + 1, before.1 + 1)),
            }
        });
        assert_eq!(self.counts(), before, "munmap gives the reference back, where there was one");
        assert_eq!(semantics.munmap == Munmap::Reference, semantics.count == Count::Entry);
    }

    fn pinning(&self, pin: Pin) {
        self.mapped(|| {
            let before = self.leaf();
            let pinned = self.mm.pin_user_pages(&self.space, AT, 1, Access::Read);
            let private = self.sharing == Sharing::Private;
            let is_copy = || self.page().is_some_and(|page| page.kind() == PageKind::Anon);
            match (pin, pinned) {
                (Pin::Refused, Err(error)) => assert_eq!(error.errno(), Errno::Fault),
                (Pin::CopyIfPrivate, Err(error)) if !private => assert_eq!(error.errno(), Errno::Fault),
                (Pin::CopyIfPrivate | Pin::PageOrCopy, Ok(pages)) if private => {
                    assert!(is_copy() && self.leaf() != before);
                    assert_eq!(Self::read(&self.space, self.mm), MARK);
                    self.mm.unpin(pages);
                }
                (Pin::PageOrCopy | Pin::Page, Ok(pages)) => {
                    assert_eq!((self.leaf(), pages.frame(0)), (before, Some(before.output(Level::L3).pfn())));
                    assert!(self.page().unwrap().maybe_pinned());
                    check(self.mm);
                    self.mm.unpin(pages);
                }
                (_, result) => panic!("{:?}: a pin came to {:?}", self.row, result.map(drop)),
            }
        });
    }

    fn writing(&self, private_write: PrivateWrite) {
        let outside = self.row.entry == EntryKind::OutsideFrame;
        if self.sharing == Sharing::Shared {
            if !outside {
                self.mapped(|| {
                    self.write(5).unwrap();
                    assert_eq!(self.word_in_memory(), 5, "a shared write reaches the device");
                    self.write(MARK).unwrap();
                });
            }
            return;
        }
        self.mapped(|| match private_write {
            PrivateWrite::Bus => {
                let info = FaultInfo::by_kernel(AT, Access::Write);
                let error = self.mm.handle_mm_fault(&self.space, &info).unwrap_err();
                assert_eq!((error.reason, error.signal()), (FaultReason::NotCopyable, Signal::Bus));
            }
            PrivateWrite::Copy | PrivateWrite::Anonymous => {
                let before = self.leaf();
                self.write(6).unwrap();
                assert_eq!(self.leaf() == before, private_write == PrivateWrite::Anonymous);
                assert_eq!((Self::read(&self.space, self.mm), self.word_in_memory()), (6, MARK));
                assert_eq!(self.page().unwrap().kind(), PageKind::Anon);
            }
        });
    }

    /// The same in a table of its own, in one that a neighbour has brought the child, and while somebody has the
    /// device's page pinned.
    fn forking(&self, fork: Fork) {
        self.forking_once(fork);
        let neighbour = MmapRequest::anonymous(PAGE_SIZE, RW).fixed(BEFORE.raw());
        self.mm.mmap(&self.space, &neighbour).unwrap();
        self.mm.write_user(&self.space, BEFORE, &[1]).unwrap();
        self.forking_once(fork);
        if fork == Fork::Counted && self.sharing == Sharing::Shared {
            let frame = page_of(self.memory.frame(self.mm, self.row.entry));
            let pages = self.mapped(|| self.mm.pin_user_pages(&self.space, AT, 1, Access::Read).unwrap());
            assert!(frame.maybe_pinned());
            self.forking_once(fork);
            self.mm.unpin(pages);
        }
        self.mm.munmap(&self.space, BEFORE.raw(), PAGE_SIZE).unwrap();
    }

    fn forking_once(&self, fork: Fork) {
        self.mapped(|| {
            let (before, leaf) = (self.counts(), self.leaf());
            let child = self.mm.fork_space(&self.space).unwrap();
            check(self.mm);
            let copy = Self::leaf_of(&child);
            match fork {
                Fork::Entry => assert_eq!((copy, self.leaf(), self.counts()), (leaf, leaf, before)),
                Fork::Counted => {
                    assert_eq!((copy, self.leaf()), (leaf, leaf));
                    assert_eq!(self.counts(), (before.0 + 1, before.1 + 1));
                }
                Fork::Anonymous => {
                    assert_eq!((copy, self.page().unwrap().refcount()), (self.leaf(), 2));
                    self.write(7).unwrap();
                    assert_ne!(copy.output(Level::L3), self.leaf().output(Level::L3));
                    assert_eq!(Self::read(&child, self.mm), 0x99);
                }
            }
            self.mm.destroy_space(&child);
            assert_eq!(self.counts(), before);
        });
    }

    fn reporting(&self, smaps: Smaps) {
        self.mapped(|| {
            let mut text = String::new();
            self.mm.write_smaps(&self.space, AT, AT, &mut text).unwrap();
            let row = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap();
                line.split_whitespace().nth(1).unwrap().to_owned()
            };
            let [size, rss, anonymous] = ["Size:", "Rss:", "Anonymous:"].map(row);
            let expected = match smaps {
                Smaps::Size => ["4", "0", "0"],
                Smaps::File => ["4", "4", "0"],
                Smaps::Anonymous => ["4", "4", "4"],
            };
            assert_eq!([size, rss, anonymous], expected, "{text}");
            let (mut word, mut flags) = ([0], [0]);
            assert_eq!(self.mm.read_pagemap(&self.space, AT.raw() / PAGE_SIZE, &mut word), 1);
            assert_eq!(word[0] & FILE != 0, smaps == Smaps::File, "pagemap says {:#x}", word[0]);
            if smaps != Smaps::Size {
                self.mm.read_kpageflags(word[0] & PFN, &mut flags);
                assert_ne!(flags[0] & kpf::MMAP, 0, "kpageflags says {:#x}", flags[0]);
            }
        });
    }

    /// mprotect leaves an entry what it is, memory type and mark too; MADV_DONTNEED and executing as the room says.
    fn kept_rights(&self, semantics: &Semantics) {
        self.mapped(|| {
            let (mm, before) = (self.mm, self.leaf());
            mm.mprotect(&self.space, AT.raw(), PAGE_SIZE, MapProt::READ).unwrap();
            check(mm);
            mm.mprotect(&self.space, AT.raw(), PAGE_SIZE, RW).unwrap();
            check(mm);
            assert_eq!(self.leaf().is_special(), semantics.count == Count::Nobody);
            assert_eq!(self.leaf().output(Level::L3), before.output(Level::L3));
            if self.sharing == Sharing::Shared && self.row.entry != EntryKind::OutsideFrame {
                self.write(MARK).unwrap();
                assert_eq!(self.leaf(), before);
            }
            let exec = mm.mprotect(&self.space, AT.raw(), PAGE_SIZE, MapProt::READ | MapProt::EXEC);
            assert_eq!(exec, Err(MmapError::DeviceExec));
            for advice in [Advice::Collapse, Advice::HugePage, Advice::NoHugePage] {
                let advised = mm.madvise(&self.space, AT.raw(), PAGE_SIZE, advice);
                assert_eq!(advised.unwrap_err().errno(), Errno::Inval, "{advice:?}");
            }
            let dropped = mm.madvise(&self.space, AT.raw(), PAGE_SIZE, Advice::DontNeed);
            if self.row.vma == Entries::PfnMap {
                assert_eq!(dropped.unwrap_err().errno(), Errno::Inval);
            } else {
                let info = FaultInfo::by_kernel(AT, Access::Read);
                let error = mm.handle_mm_fault(&self.space, &info).unwrap_err();
                assert_eq!((error.reason, error.signal()), (FaultReason::NotInserted, Signal::Bus));
            }
        });
    }
}

/// Every row, in shared and in private mappings, does what the table says; nothing is lost.
#[test]
fn every_row_does_what_it_says() {
    for (row, sharing) in TABLE.iter().flat_map(|row| [(row, Sharing::Shared), (row, Sharing::Private)]) {
        if row.entry == EntryKind::PrivateCopy && sharing == Sharing::Shared {
            continue;
        }
        println!("{row:?}, {sharing:?}");
        Builder::new().ram_mib(32).boot(|mm, _| {
            let memory = Memory::new(mm);
            let free = mm.free_page_count();
            let case = Case { mm, space: mm.new_space().unwrap(), memory: &memory, row: *row, sharing };
            case.run();
            mm.destroy_space(&case.space);
            assert_eq!(mm.free_page_count(), free, "pages are missing");
            memory.end(mm);
        });
    }
}

/// A page lives until the device and the last entry have let go: here the device is first, vmalloc and all.
#[test]
fn the_last_to_let_go_frees() {
    Builder::new().ram_mib(32).boot(|mm, _| {
        let free = mm.free_page_count();
        let (space, memory) = (mm.new_space().unwrap(), Memory::new(mm));
        let request = MmapRequest::anonymous(2 * PAGE_SIZE, RW).fixed(AT.raw());
        let pages =
            [EntryKind::KernelPage, EntryKind::VmallocPage].map(|kind| page_of(memory.frame(mm, kind)));
        let shared = MmapRequest { flags: MapFlags::SHARED | MapFlags::FIXED, ..request };
        mm.mmap_device(&space, &shared, Entries::MixedMap, |inserter| {
            inserter.page(0, pages[0])?;
            inserter.page(1, pages[1])
        })
        .unwrap();
        memory.end(mm);
        check(mm);
        assert_eq!(pages.map(PageRef::refcount), [1, 1]);
        assert_eq!(Case::read(&space, mm), MARK);
        mm.destroy_space(&space);
        assert_eq!(mm.free_page_count(), free);
    });
}

/// A VMA of frames that have no struct page is cut under every way of counting, also the one that counts VMAs.
#[test]
fn vmas_of_frames_are_cut() {
    let request = MmapRequest::anonymous(4 * PAGE_SIZE, RW).fixed(AT.raw());
    let shared = MmapRequest { flags: MapFlags::SHARED | MapFlags::FIXED, ..request };
    for &mapcount in Mapcount::ALL {
        let choices = |config: &mut MmConfig| (config.mapcount, config.hvo) = (mapcount, HvoStrategy::Off);
        Builder::new().ram_mib(32).config(choices).boot(|mm, _| {
            let space = mm.new_space().unwrap();
            let insert = |page| Pfn::new(OUTSIDE.raw() + page);
            mm.mmap_device(&space, &shared, Entries::PfnMap, |inserter| {
                (0..4).try_for_each(|page| inserter.frame(page, insert(page)))
            })
            .unwrap();
            let second = AT.add(PAGE_SIZE).raw();
            for prot in [MapProt::READ, RW] {
                mm.mprotect(&space, second, PAGE_SIZE, prot).unwrap();
                assert_eq!(space.vma_count(), 3, "{mapcount}");
                check(mm);
            }
            mm.munmap(&space, second, PAGE_SIZE).unwrap();
            check(mm);
            mm.destroy_space(&space);
        });
    }
}

/// A handler that refuses leaves nothing mapped; so does one that runs out of memory, at any of its allocations.
#[test]
fn a_handler_that_fails() {
    let request = MmapRequest::anonymous(4 * PAGE_SIZE, RW).fixed(AT.raw());
    let shared = MmapRequest { flags: MapFlags::SHARED | MapFlags::FIXED, ..request };
    Builder::new().ram_mib(32).boot(|mm, _| {
        let (space, memory) = (mm.new_space().unwrap(), Memory::new(mm));
        let page = page_of(memory.frame(mm, EntryKind::KernelPage));
        let twice = mm.mmap_device(&space, &shared, Entries::MixedMap, |inserter| {
            inserter.page(1, page)?;
            inserter.page(1, page)
        });
        assert_eq!(twice, Err(MmapError::NotInsertable(1)));
        let beyond =
            mm.mmap_device(&space, &shared, Entries::MixedMap, |inserter| inserter.frame(4, OUTSIDE));
        assert_eq!(beyond, Err(MmapError::NotInsertable(4)));
        let table = page_of(space.root().pfn());
        let other = mm.mmap_device(&space, &shared, Entries::MixedMap, |inserter| inserter.page(0, table));
        assert_eq!(other, Err(MmapError::NotInsertable(0)));
        assert_eq!((space.vma_count(), page.refcount()), (0, 1));
        mm.destroy_space(&space);
        memory.end(mm);
    });
    for failing in [Failing::Once, Failing::Onwards] {
        let failed = exhaust(
            &Builder::new().ram_mib(32),
            failing,
            |mm| (mm.new_space().unwrap(), Memory::new(mm)),
            |mm, (space, memory)| {
                mm.mmap_device(space, &shared, Entries::MixedMap, |inserter| {
                    inserter.page(0, page_of(memory.frame(mm, EntryKind::KernelPage)))?;
                    inserter.frame(3, OUTSIDE)
                })
            },
            |mm, (space, memory)| {
                mm.destroy_space(&space);
                memory.end(mm);
            },
        );
        assert!(failed >= 3, "only {failed} allocations were failed");
    }
}
