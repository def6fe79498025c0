//! Running out of memory in the middle of every call, and random calls against a simple picture of what they
//! should do.

use std::collections::BTreeMap;

use arch::VirtAddr;
use arch::model::{user_load, user_store};
use mm::Mm;
use mm::config::{HvoStrategy, PromotionThreshold, ThpMode};
use mm::error::OutOfMemory;
use mm::fault::FaultReason;
use mm::kalloc::KArc;
use mm::space::{AddressSpace, Advice, Errno, MapFlags, MapProt, MmapError, MmapRequest};
use mm::stats::Counter;
use mm::testkit::{Builder, Random, check, fail_every_allocation, run_as_user};
use mm::thp::promoter;

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const BASE: u64 = 0x10_0000_0000;

/// 64 MiB and no HVO, so that a run is short and a hugetlb pool leaves nothing behind.
fn machine(mode: ThpMode) -> Builder {
    Builder::new().ram_mib(64).config(move |config| {
        config.thp = mode;
        config.hvo = HvoStrategy::Off;
    })
}

fn fixed(pages: u64, count: u64) -> MmapRequest {
    MmapRequest::anonymous(count * PAGE, RW).fixed(BASE + pages * PAGE)
}

/// A space with a block's worth of written memory at [`BASE`].
fn written(mm: &Mm) -> KArc<AddressSpace> {
    let space = mm.new_space().unwrap();
    mm.mmap(&space, &fixed(0, 1024).with(MapFlags::POPULATE)).unwrap();
    mm.write_user(&space, VirtAddr::new(BASE), &[7; 9000]).unwrap();
    space
}

/// Fails every allocation of `call` on a space of [`written`]; after each failure the contents are as they
/// were, every count is right, and the end of the space gives everything back. Returns how many failures
/// there were.
fn exhaust(mode: ThpMode, call: impl Fn(&Mm, &KArc<AddressSpace>) -> Result<(), Errno>, kept: u64) -> u64 {
    fail_every_allocation(&machine(mode), written, |mm, space| {
        let result = call(mm, &space);
        if !matches!(result, Ok(()) | Err(Errno::NoMem | Errno::Again)) {
            panic!("{result:?}");
        }
        check(mm);
        let mut bytes = vec![0; kept as usize];
        mm.read_user(&space, VirtAddr::new(BASE), &mut bytes).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 7), "contents were lost");
        mm.destroy_space(&space);
        result
    })
}

fn errno(result: Result<(), MmapError>) -> Result<(), Errno> {
    result.map_err(MmapError::errno)
}

/// Making a space.
#[test]
fn new_space_without_memory() {
    let failures = fail_every_allocation(
        &machine(ThpMode::Never),
        |_| (),
        |mm, ()| {
            let space = mm.new_space()?;
            mm.destroy_space(&space);
            Ok::<_, OutOfMemory>(())
        },
    );
    assert!(failures >= 2, "the root table and the space itself, {failures}");
}

/// mmap, with and without pages; a replaced mapping stays whole when the new one cannot be made.
#[test]
fn mmap_without_memory() {
    let mapped = |request: MmapRequest| {
        move |mm: &Mm, space: &KArc<AddressSpace>| {
            mm.mmap(space, &request).map(|_| ()).map_err(|error| error.errno())
        }
    };
    for mode in [ThpMode::Never, ThpMode::Always, ThpMode::Reserve] {
        exhaust(mode, mapped(MmapRequest::anonymous(PAGE, MapProt::READ)), 9000);
        exhaust(mode, mapped(MmapRequest::anonymous(3 * PAGE, RW).with(MapFlags::POPULATE)), 9000);
        let failures = exhaust(mode, mapped(fixed(700, 10)), 9000);
        assert!(failures >= u64::from(mode == ThpMode::Always), "{mode}: a block must be split");
    }
}

/// munmap, mprotect and MADV_DONTNEED that cut a block and a VMA.
#[test]
fn cuts_without_memory() {
    let (at, len) = (BASE + 515 * PAGE, 100 * PAGE);
    for mode in [ThpMode::Never, ThpMode::Always] {
        let least = u64::from(mode == ThpMode::Always);
        assert!(exhaust(mode, |mm, space| errno(mm.munmap(space, at, len)), 9000) >= least);
        assert!(exhaust(mode, |mm, space| errno(mm.mprotect(space, at, len, MapProt::READ)), 9000) >= least);
        let dontneed =
            |mm: &Mm, space: &KArc<AddressSpace>| errno(mm.madvise(space, at, len, Advice::DontNeed));
        assert!(exhaust(mode, dontneed, 9000) >= least);
        exhaust(mode, |mm, space| errno(mm.madvise(space, at, len, Advice::HugePage)), 9000);
    }
}

/// A fault for reading, for writing, and on the page of zeros.
#[test]
fn faults_without_memory() {
    for mode in [ThpMode::Never, ThpMode::Always, ThpMode::Reserve] {
        let far = VirtAddr::new(BASE + (1 << 40));
        let setup = |mm: &Mm| {
            let space = written(mm);
            mm.mmap(&space, &MmapRequest::anonymous(HUGE, RW).fixed(far.raw())).unwrap();
            space
        };
        let failures = fail_every_allocation(&machine(mode), setup, |mm, space| {
            let read = mm.read_user(&space, far, &mut [0]);
            let write = mm.write_user(&space, far, &[1]);
            for error in [read, write].into_iter().filter_map(Result::err) {
                assert_eq!(error.reason, FaultReason::OutOfMemory);
            }
            check(mm);
            mm.destroy_space(&space);
            read.and(write)
        });
        assert!(failures >= 4, "{mode}: three tables and a page, {failures}");
    }
}

/// brk: what cannot be had leaves the heap as it was.
#[test]
fn brk_without_memory() {
    let start = BASE + 2000 * PAGE;
    exhaust(
        ThpMode::Never,
        |mm, space| {
            mm.set_brk_start(space, VirtAddr::new(start));
            let end = mm.brk(space, start + 5 * PAGE);
            let shrunk = mm.brk(space, start + 2 * PAGE);
            let bytes = 5 * PAGE * u64::from(end.raw() != start);
            let heap = space.vma_at(VirtAddr::new(start)).map_or(0, |vma| vma.bytes());
            assert_eq!(heap, shrunk.raw() - start);
            assert!(bytes == 0 || end.raw() == start + 5 * PAGE);
            if shrunk.raw() == start + 2 * PAGE { Ok(()) } else { Err(Errno::NoMem) }
        },
        9000,
    );
}

/// What a page should be: its rights, and the word at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Page {
    prot: MapProt,
    word: u64,
}

/// Pages that random calls work on: three blocks and a bit.
const SPAN: u64 = 3 * 512 + 40;

struct Oracle<'t> {
    mm: &'t Mm,
    space: &'t KArc<AddressSpace>,
    pages: BTreeMap<u64, Page>,
    random: Random,
}

impl Oracle<'_> {
    fn va(page: u64) -> VirtAddr {
        VirtAddr::new(BASE + page * PAGE)
    }

    /// First page and number of pages: a few anywhere, or whole blocks.
    fn range(&mut self) -> (u64, u64) {
        if self.random.below(3) == 0 {
            let first = self.random.below(3);
            return (512 * first, 512 * (1 + self.random.below(3 - first)));
        }
        let first = self.random.below(SPAN);
        (first, (1 + self.random.below(48)).min(SPAN - first))
    }

    fn prot(&mut self) -> MapProt {
        let all = [RW, RW, RW, RW, RW, MapProt::READ, MapProt::empty(), MapProt::READ | MapProt::EXEC];
        all[self.random.below(all.len() as u64) as usize]
    }

    /// One call, made for real and on the picture.
    fn call(&mut self) {
        let (first, count) = self.range();
        let (at, len) = (Self::va(first).raw(), count * PAGE);
        let pages = first..first + count;
        let whole = pages.clone().all(|page| self.pages.contains_key(&page));
        match self.random.below(11) {
            0..2 => {
                let prot = self.prot();
                let request = MmapRequest::anonymous(len, prot).fixed(at);
                self.mm.mmap(self.space, &request).unwrap();
                if self.random.below(2) == 0 {
                    self.mm.madvise(self.space, at, len, Advice::HugePage).unwrap();
                }
                self.pages.extend(pages.map(|page| (page, Page { prot, word: 0 })));
            }
            2 => {
                self.mm.munmap(self.space, at, len).unwrap();
                pages.for_each(|page| _ = self.pages.remove(&page));
            }
            3..5 => {
                let prot = self.prot();
                let result = self.mm.mprotect(self.space, at, len, prot);
                assert_eq!(result.is_ok(), whole, "{result:?}");
                // Up to the first hole.
                let mapped = pages.take_while(|page| self.pages.contains_key(page)).count() as u64;
                self.pages.range_mut(first..first + mapped).for_each(|(_, page)| page.prot = prot);
            }
            5 => {
                let result = self.mm.madvise(self.space, at, len, Advice::DontNeed);
                assert_eq!(result.is_ok(), whole, "{result:?}");
                self.pages.range_mut(pages).for_each(|(_, page)| page.word = 0);
            }
            6..8 => {
                let advice = if self.random.below(4) == 0 { Advice::NoHugePage } else { Advice::HugePage };
                assert_eq!(self.mm.madvise(self.space, at, len, advice).is_ok(), whole);
            }
            _ => {
                (first..first + count.min(200)).for_each(|page| self.touch(page));
                if self.random.below(2) == 0 {
                    promoter::drain(self.mm);
                }
            }
        }
    }

    /// A load or a store, which succeeds just where the picture allows it.
    fn touch(&mut self, page: u64) {
        let (va, known) = (Self::va(page), self.pages.get(&page).copied());
        if self.random.below(2) == 0 {
            let readable = known.filter(|page| !page.prot.is_empty());
            assert_eq!(user_load(va).ok(), readable.map(|page| page.word), "load of page {page}: {known:?}");
            return;
        }
        let word = self.random.bits();
        let writable = known.is_some_and(|page| page.prot.contains(MapProt::WRITE));
        assert_eq!(user_store(va, word).is_ok(), writable, "store to page {page}: {known:?}");
        if let (true, Some(page)) = (writable, self.pages.get_mut(&page)) {
            page.word = word;
        }
    }

    /// The VMAs cover just the pages of the picture, with their rights, and no two equal ones touch.
    fn check_vmas(&self) {
        let mut seen = BTreeMap::new();
        let mut last = None;
        self.space.for_each_vma(|vma| {
            assert!(last.is_none_or(|last: mm::space::Vma| !last.merges_with(vma)), "{vma} is not merged");
            last = Some(*vma);
            let page = |va: VirtAddr| (va.raw() - BASE) / PAGE;
            seen.extend((page(vma.start)..page(vma.end)).map(|page| (page, u32::from(vma.prot.bits()))));
        });
        let known: BTreeMap<_, _> =
            self.pages.iter().map(|(page, known)| (*page, known.prot.bits())).collect();
        assert_eq!(seen, known);
    }
}

/// Random calls and accesses, under each huge page policy, against the picture: every load sees the word that
/// was stored last, every refusal is where it should be, and every count is right all the way. Reservations
/// are promoted soon in the first part, and live on in the second. The seed comes from `MM_SEED`.
#[test]
fn random_calls_match_the_picture() {
    for (n, &mode) in ThpMode::ALL.iter().enumerate() {
        let random = Random::for_test("random_calls_match_the_picture", 100 + n as u64);
        let builder = machine(mode).config(|config| {
            config.promotion_threshold = PromotionThreshold::new(8).unwrap();
        });
        builder.boot(|mm, env| {
            let before = mm.free_page_count();
            let space = mm.new_space().unwrap();
            run_as_user(mm, env, &space, || {
                let mut oracle = Oracle { mm, space: &space, pages: BTreeMap::new(), random };
                for round in 0..500 {
                    if round == 300 {
                        mm.thp.set_threshold(500).unwrap();
                    }
                    oracle.call();
                    if round % 10 == 0 {
                        oracle.check_vmas();
                        check(mm);
                    }
                }
                (0..SPAN).for_each(|page| oracle.touch(page));
                oracle.check_vmas();
            });
            check(mm);
            mm.destroy_space(&space);
            assert_eq!(mm.free_page_count() + mm.huge_zero.kept_pages(), before, "{mode}: pages are missing");
            let huge = [Counter::ThpFaultAlloc, Counter::ThpResAlloc, Counter::ResPagesCollapsed]
                .map(|counter| mm.stats.get(counter) != 0);
            let splits = mm.stats.get(Counter::ThpSplitPmd) != 0;
            match mode {
                ThpMode::Never => assert_eq!((huge, splits), ([false; 3], false)),
                ThpMode::Always | ThpMode::Madvise | ThpMode::Defer => {
                    assert_eq!((huge, splits), ([true, false, false], true))
                }
                ThpMode::Reserve => assert_eq!((huge, splits), ([false, true, true], true)),
            }
        });
    }
}
