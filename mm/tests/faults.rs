//! Faults that cannot be resolved, in words and signals; reservations that leave with their range; what a
//! mapcount tells.

use arch::contract::{FaultStatus, Privilege};
use arch::model::user_store;
use arch::{Access, Level, Order, PhysAddr, VirtAddr};
use mm::config::{HvoStrategy, Mapcount, ThpMode};
use mm::fault::{FaultDone, FaultError, FaultInfo, FaultReason, Signal};
use mm::hugetlb::HugeSize;
use mm::mapcount::{self, Answer, OwnerId, Remains, Run, Sharing};
use mm::page::{PageKind, PageRef};
use mm::space::{Advice, MapFlags, MapProt, MmapRequest};
use mm::stats::Counter;
use mm::testkit::{Builder, check, with_space};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// Each way in which a fault can fail: the reason, what Linux would send, and what a person reads.
#[test]
fn failed_faults_say_why() {
    with_space(&Builder::new().config(|config| config.hvo = HvoStrategy::Off), |mm, _, space| {
        let ro = mm.mmap(space, &MmapRequest::anonymous(PAGE, MapProt::READ).fixed(0x50_0000)).unwrap();
        let huge = MmapRequest::anonymous(HUGE, RW).with(MapFlags::HUGETLB | MapFlags::NORESERVE);
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
        let huge = mm.mmap(space, &huge).unwrap();
        let translation = FaultStatus::Translation(Level::L3);
        for (va, access, status, reason, signal, words) in [
            (
                0,
                Access::Execute,
                translation,
                FaultReason::NoVma,
                Signal::SegvMapErr,
                "nothing is mapped there",
            ),
            (
                0xffff_8000_0000_0000,
                Access::Read,
                translation,
                FaultReason::NotUserAddress,
                Signal::SegvMapErr,
                "not a user address",
            ),
            (
                ro.raw(),
                Access::Write,
                translation,
                FaultReason::Rights,
                Signal::SegvAccErr,
                "does not allow it",
            ),
            (huge.raw(), Access::Write, translation, FaultReason::HugetlbEmpty, Signal::Bus, "pool is empty"),
            (
                ro.raw(),
                Access::Read,
                FaultStatus::Other(0x10),
                FaultReason::Machine(FaultStatus::Other(0x10)),
                Signal::Bus,
                "fault status 0x10",
            ),
        ] {
            let va = VirtAddr::new(va);
            let info = FaultInfo { va, access, privilege: Privilege::User, status };
            let error: FaultError = mm.handle_mm_fault(space, &info).unwrap_err();
            assert_eq!((error.reason, error.signal()), (reason, signal));
            assert!(error.to_string().contains(words), "{error}");
        }
        let info = FaultInfo::by_kernel(ro, Access::Write);
        let words = mm.handle_mm_fault(space, &info).unwrap_err().to_string();
        let expected = "kernel write to 0x0000000000500000: the mapping does not allow it \
                        (VMA 500000-501000 r--p anon; translation fault, level 3)";
        assert_eq!(words, expected);
    });
}

/// A fault on an entry that is good already is counted as spurious and changes nothing.
#[test]
fn spurious_faults_are_counted() {
    with_space(&Builder::new(), |mm, _, space| {
        let va = mm.mmap(space, &MmapRequest::anonymous(PAGE, RW)).unwrap();
        let info = FaultInfo::by_kernel(va, Access::Write);
        assert_eq!(mm.handle_mm_fault(space, &info), Ok(FaultDone::Made));
        let stores = mm.stats.get(Counter::PteStore);
        assert_eq!(mm.handle_mm_fault(space, &info), Ok(FaultDone::Spurious));
        assert_eq!(mm.stats.get(Counter::PgFaultSpurious), 1);
        assert_eq!(mm.stats.get(Counter::PteStore), stores);
    });
}

/// A reservation goes with a part of its range: by munmap, MADV_DONTNEED, MADV_NOHUGEPAGE, and by mprotect
/// that cuts it; not by mprotect of all of it.
#[test]
fn reservations_leave_with_their_range() {
    let reserve = Builder::new().config(|config| config.thp = ThpMode::Reserve);
    with_space(&reserve, |mm, _, space| {
        let va = mm.mmap(space, &MmapRequest::anonymous(2 * HUGE, RW)).unwrap();
        let reserved = || mm.stats.get(Counter::NrThpReserved);
        let (at, len) = (va.raw() + HUGE - 8 * PAGE, 4 * PAGE);
        let keep = |prot| mm.mprotect(space, va.raw(), 2 * HUGE, prot).unwrap();
        user_store(va, 1).unwrap();
        keep(MapProt::READ);
        keep(RW);
        assert_eq!(reserved(), 511);
        let calls: [(&str, &dyn Fn()); 4] = [
            ("mprotect", &|| mm.mprotect(space, at, len, MapProt::READ).unwrap()),
            ("dontneed", &|| mm.madvise(space, at, len, Advice::DontNeed).unwrap()),
            ("munmap", &|| mm.munmap(space, at, len).unwrap()),
            ("nohugepage", &|| mm.madvise(space, at, len, Advice::NoHugePage).unwrap()),
        ];
        for (name, call) in calls {
            call();
            assert_eq!(reserved(), 0, "{name}");
            check(mm);
            mm.mmap(space, &MmapRequest::anonymous(2 * HUGE, RW).fixed(va.raw())).unwrap();
            user_store(va, 1).unwrap();
            assert_eq!(reserved(), 511, "{name}: a fresh mapping reserves anew");
        }
    });
}

/// Page entries of some table, from the first page of the folio on.
fn run(head: PageRef, entries: u32) -> Run {
    let (va, end) = (VirtAddr::new(0x40_0000), VirtAddr::new(0x60_0000));
    Run {
        head,
        first: head,
        entries,
        level: Level::L3,
        table: PhysAddr::new(0),
        top: PhysAddr::new(0),
        va,
        space: 1,
        owner: OwnerId::new(1).unwrap(),
        vma: (va, end),
    }
}

/// What `rfc-v2` answers, for a single page and for a folio, and how exactly.
#[test]
fn rfc_v2_answers() {
    Builder::new().config(|config| config.mapcount = Mapcount::RfcV2).boot(|mm, _| {
        let scheme = mapcount::scheme(mm);
        let owned = [Order::PAGE, Order::new(2)].map(|order| mm.alloc_pages(order, PageKind::Anon).unwrap());
        let [page, head] = [owned[0].page(), owned[1].page()];
        head.prep_compound(PageKind::Anon, Order::new(2), mm.config.tails);
        for (folio, tail) in [(page, page), (head, head.nth(3))] {
            assert!(!scheme.is_mapped(folio));
            assert_eq!(scheme.page_entries(folio, tail), Answer::Exact(0));
            assert_eq!(scheme.sharing(folio), Answer::Exact(Sharing::Exclusive));
            mapcount::add(mm, &run(folio, 1));
            assert_eq!(scheme.sharing(folio), Answer::Exact(Sharing::Exclusive));
            mapcount::add(mm, &run(folio, 2));
            assert!(scheme.is_mapped(folio));
            assert_eq!(scheme.entries(folio), Answer::Exact(3));
        }
        assert_eq!(scheme.page_entries(page, page), Answer::Exact(3));
        assert_eq!(scheme.sharing(page), Answer::Exact(Sharing::Shared));
        assert_eq!(scheme.page_entries(head, head.nth(3)), Answer::AtMost(3));
        assert_eq!(scheme.sharing(head), Answer::AtMost(Sharing::Shared));
        for folio in owned {
            assert_eq!(mapcount::remove(mm, &run(folio.page(), 3)), Remains::Nothing);
            mm.put_folio(folio);
        }
    });
}
