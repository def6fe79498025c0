//! What all other calls make of entries of several sizes, and what is refused.

use arch::VirtAddr;
use mm::config::{Hgm, Mapcount};
use mm::fault::FaultReason;
use mm::hugetlb::hgm::ContinueError;
use mm::hugetlb::{HugeSize, take_spare};
use mm::report::Reading;
use mm::rmap::{MoveWhat, migrate_folio};
use mm::space::{Advice, Errno, MapFlags, MapProt, MmapRequest, MremapRequest, RemapFlags};
use mm::stats::Counter;

use super::site::{KIB, M2, MIB, RW, Site, all_ways, machine, some};

/// What is mapped by entries of several sizes goes through fork, mprotect, mremap, a move of its folio, MADV_DONTNEED,
/// truncation and munmap, in every way of counting.
#[test]
fn every_call_meets_entries_of_several_sizes() {
    let of_giants = [Mapcount::RfcV1Counted, Mapcount::VmaPt];
    let few = |way: &(HugeSize, Mapcount)| way.0 != HugeSize::G1 || of_giants.contains(&way.1);
    for (size, mapcount) in all_ways().filter(few) {
        let ram = if size == HugeSize::G1 { 3 << 10 | 128 } else { 256 };
        machine(size, mapcount).ram_mib(ram).boot(|mm, _| {
            let site = Site::new(mm, size, 2);
            let bytes = size.bytes();
            let populate = || {
                site.go_on(bytes + 4 * KIB, 8 * KIB).1.unwrap();
                site.go_on(bytes + bytes / 2, bytes / 2).1.unwrap();
            };
            populate();
            let before = site.sizes(bytes, bytes);
            let child = mm.fork_space(&site.space).unwrap();
            mm.write_user(&child, site.at(bytes + 6 * KIB), &[6]).unwrap();
            assert_eq!(site.read(bytes + 6 * KIB), Ok(6));
            site.check();
            mm.destroy_space(&child);
            mm.mprotect(&site.space, site.at(bytes).raw(), bytes, MapProt::READ).unwrap();
            let refused = mm.write_user(&site.space, site.at(bytes + 6 * KIB), &[7]).unwrap_err();
            assert_eq!(refused.reason, FaultReason::Rights);
            site.check();
            mm.mprotect(&site.space, site.at(bytes).raw(), bytes, RW).unwrap();
            for at in [6 * KIB, bytes - 1] {
                mm.write_user(&site.space, site.at(bytes + at), &[7]).unwrap();
            }
            assert_eq!(site.sizes(bytes, bytes), before, "{size} {mapcount}");
            site.check();
            // To another place and back.
            let there = VirtAddr::new(0x7000_0000_0000);
            let (old, new) = (site.at(bytes).raw(), there.raw());
            let flags = RemapFlags::MAYMOVE | RemapFlags::FIXED;
            for (from, to) in [(old, new), (new, old)] {
                let request =
                    MremapRequest { addr: from, old_len: bytes, new_len: bytes, flags, new_addr: to };
                mm.mremap(&site.space, &request).unwrap();
                site.check();
            }
            assert_eq!((site.sizes(bytes, bytes), site.read(2 * bytes - 1)), (before, Ok(7)));
            site.advise(bytes, bytes, Advice::DontNeed).unwrap();
            assert!(site.sizes(bytes, bytes).iter().all(Option::is_none));
            populate();
            site.check();
            let file = site.file.as_ref().unwrap();
            mm.truncate_object(file, bytes).unwrap();
            assert_eq!(site.read(bytes + 6 * KIB), Err(FaultReason::BeyondObject));
            site.check();
            mm.truncate_object(file, 2 * bytes).unwrap();
            site.put(bytes, 2);
            site.go_on(bytes, 4 * KIB).1.unwrap();
            assert_eq!(site.read(bytes), Ok(2));
            mm.munmap(&site.space, site.at(bytes).raw(), bytes).unwrap();
            site.end();
        });
    }
}

/// A page that is mapped by entries of several sizes moves to another of the pool, and all entries follow.
#[test]
fn a_page_by_pieces_moves() {
    for &mapcount in Mapcount::ALL {
        for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
            machine(size, mapcount).boot(|mm, _| {
                let site = Site::new(mm, size, 1);
                assert_eq!(mm.hugetlb.set_nr(mm, size, 2).persistent, 2);
                site.put(12 * KIB, 8);
                site.go_on(8 * KIB, 8 * KIB).1.unwrap();
                site.go_on(size.bytes() / 2, size.bytes() / 2).1.unwrap();
                let before = site.sizes(0, size.bytes());
                let old = site.file.as_ref().unwrap().page(0).unwrap();
                let target = take_spare(mm, size, |_| true).unwrap();
                let folio = mm.try_get_folio(old.pfn()).unwrap();
                migrate_folio(mm, folio, target, MoveWhat::All).unwrap();
                assert_ne!(site.file.as_ref().unwrap().page(0), Some(old));
                assert_eq!(site.sizes(0, size.bytes()), before, "{size} {mapcount}");
                assert_eq!(site.read(12 * KIB), Ok(8));
                mm.check_all().unwrap();
                assert_eq!(mm.hugetlb.set_nr(mm, size, 1).persistent, 1);
                site.end();
            });
        }
    }
}

/// Who asks wrongly is told Linux's error, and nothing changes: MADV_SPLIT of private or other memory, of a part of a
/// page, of a hole; collapse where nothing was permitted, or of a hole; continuing of what is mapped, absent, unaligned
/// or no shared hugetlb memory.
#[test]
fn wrong_requests() {
    let size = HugeSize::M2;
    machine(size, Mapcount::MmOwner).boot(|mm, _| {
        let site = Site::new(mm, size, 2);
        let space = &site.space;
        let errno = |va: VirtAddr, bytes: u64, advice| {
            mm.madvise(space, va.raw(), bytes, advice).map_err(|error| error.errno())
        };
        let anonymous = mm.mmap(space, &MmapRequest::anonymous(4 * MIB, RW)).unwrap();
        assert_eq!(errno(anonymous, 2 * MIB, Advice::Split), Err(Errno::Inval));
        assert_eq!(mm.hugetlb.set_nr(mm, size, 3).persistent, 3);
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::HUGETLB;
        let private = mm.mmap(space, &MmapRequest { flags, ..MmapRequest::anonymous(2 * MIB, RW) }).unwrap();
        assert_eq!(errno(private, 2 * MIB, Advice::Split), Err(Errno::Inval));
        assert_eq!(errno(private, 2 * MIB, Advice::Collapse), Err(Errno::Inval));
        assert_eq!(errno(site.plain, 2 * MIB, Advice::Collapse), Err(Errno::Inval));
        assert_eq!(errno(site.plain.add(4096), MIB, Advice::Split), Err(Errno::Inval));
        assert_eq!(errno(site.plain, 2 * MIB + 4096, Advice::Split), Err(Errno::Inval));
        assert_eq!(errno(site.plain.add(1), 2 * MIB, Advice::Split), Err(Errno::Inval));
        mm.munmap(space, site.at(2 * MIB).raw(), 2 * MIB).unwrap();
        site.go_on(0, 4096).1.unwrap();
        assert_eq!(site.advise(0, 4 * MIB, Advice::Collapse), Err(Errno::NoMem));
        assert_eq!(site.sizes(0, 2 * MIB), some([M2]), "what lies below a hole is done");
        assert_eq!(site.advise(0, 4 * MIB, Advice::Split), Err(Errno::NoMem));
        site.advise(0, 2 * MIB, Advice::DontNeed).unwrap();

        site.go_on(8 * KIB, 4 * KIB).1.unwrap();
        assert_eq!(site.go_on(0, 16 * KIB), (8 * KIB, Err(Errno::Exist)));
        assert_eq!(site.go_on(0, 0), (0, Err(Errno::Inval)));
        assert_eq!(site.go_on(1, 4 * KIB), (0, Err(Errno::Inval)));
        assert_eq!(site.go_on(0, 3 * MIB), (0, Err(Errno::NoEnt)));
        assert_eq!(site.go_on(2 * MIB, 4 * KIB), (0, Err(Errno::NoEnt)));
        let of =
            |va: VirtAddr, bytes| mm.continue_huge(space, va..va.add(bytes)).1.map_err(ContinueError::errno);
        assert_eq!(of(anonymous, 4 * KIB), Err(Errno::NoEnt));
        assert_eq!(of(private, 2 * MIB), Err(Errno::NoEnt));
        assert_eq!(of(site.plain, 4 * KIB), Err(Errno::Inval), "whole pages where nothing is permitted");
        mm.madvise(space, site.plain.raw(), 2 * MIB, Advice::Remove).unwrap();
        assert_eq!(site.go_on(0, 4 * KIB), (0, Err(Errno::Fault)));
        assert_eq!(of(site.plain, 2 * MIB), Err(Errno::Fault));
        mm.check_all().unwrap();
        mm.munmap(space, private.raw(), 2 * MIB).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, size, 2).persistent, 2);
        site.end();
    });
}

/// `hgm=off` knows no MADV_SPLIT.
#[test]
fn without_the_choice_the_advice_is_not_known() {
    let size = HugeSize::M2;
    machine(size, Mapcount::MmOwner).config(|config| config.hgm = Hgm::Off).boot(|mm, _| {
        let flags = MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::HUGETLB;
        assert_eq!(mm.hugetlb.set_nr(mm, size, 1).persistent, 1);
        let space = mm.new_space().unwrap();
        let start = mm.mmap(&space, &MmapRequest { flags, ..MmapRequest::anonymous(2 * MIB, RW) }).unwrap();
        let refused = mm.madvise(&space, start.raw(), 2 * MIB, Advice::Split).unwrap_err();
        assert_eq!(refused.errno(), Errno::Inval);
        mm.destroy_space(&space);
    });
}

/// smaps of a page that one process maps by two entries: private, where the way of counting can tell one process from
/// several.
#[test]
fn smaps_of_a_page_by_pieces() {
    for &mapcount in Mapcount::ALL {
        let size = HugeSize::M2;
        machine(size, mapcount).boot(|mm, _| {
            let site = Site::new(mm, size, 1);
            mm.munmap(&site.space, site.plain.raw(), size.bytes()).unwrap();
            site.go_on(4 * KIB, 8 * KIB).1.unwrap();
            let sizes = || mm.sizes(&site.space, site.start, site.at(size.bytes()), Reading::Locked);
            let cannot_tell = matches!(mapcount, Mapcount::RfcV2 | Mapcount::TotalMapped);
            let (private, shared) = if cannot_tell { (0, 8 * KIB) } else { (8 * KIB, 0) };
            let found = sizes();
            assert_eq!((found.private_hugetlb, found.shared_hugetlb), (private, shared), "{mapcount}");
            let child = mm.fork_space(&site.space).unwrap();
            mm.write_user(&child, site.at(4 * KIB), &[1]).unwrap();
            assert_ne!(sizes().shared_hugetlb, 0, "{mapcount}");
            mm.destroy_space(&child);
            site.end();
        });
    }
}

/// The flaw of `rfc-v1`: truncation zaps the leaves, and the count stays with the table; the proposed mark repairs it.
#[test]
fn truncation_strands_a_count_of_rfc_v1() {
    for (mapcount, stranded) in [(Mapcount::RfcV1, 1), (Mapcount::RfcV1Counted, 0), (Mapcount::RfcV2, 0)] {
        machine(HugeSize::G1, mapcount).boot(|mm, _| {
            let site = Site::new(mm, HugeSize::G1, 1);
            mm.munmap(&site.space, site.plain.raw(), 1 << 30).unwrap();
            site.go_on(0, 64 * KIB).1.unwrap();
            site.go_on(2 * MIB, 2 * MIB).1.unwrap();
            mm.truncate_object(site.file.as_ref().unwrap(), 0).unwrap();
            assert_eq!(mm.stats.get(Counter::MapcountStranded), stranded, "{mapcount}");
            site.end();
        });
    }
}
