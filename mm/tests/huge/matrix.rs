//! The life of hugetlb memory in every way of counting, for every size, on a CPU that has no feature and on one that
//! has all: private, shared, and private of an object.

use arch::VirtAddr;
use arch::features::{BbmLevel, Features};
use mm::Mm;
use mm::config::Mapcount;
use mm::fault::FaultReason;
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::shmem::ObjectUse;
use mm::space::{AddressSpace, Advice, MapProt, MremapRequest};

use crate::common::{RW, counting, counts, grow, map, map_object, object, of_object, private, read, write};

/// What the memory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Private,
    Shared,
    PrivateOfObject,
}

/// Without a feature, and with all of them.
fn cpus() -> [Features; 2] {
    let all =
        Features { bbm: BbmLevel::Level2, tlbi_range: true, ttl: true, asid_bits: 16, ..Features::BASE };
    [Features::BASE, all]
}

fn run(size: HugeSize, kind: Kind) {
    for &mapcount in Mapcount::ALL {
        cpus().into_iter().for_each(|features| run_one(size, kind, mapcount, features));
    }
}

fn run_one(size: HugeSize, kind: Kind, mapcount: Mapcount, features: Features) {
    counting(size, mapcount).features(features).boot(|mm, _| {
        let what = format!("{size} {kind:?} {mapcount}");
        // The object's, the parent's and the child's, as far as there is room.
        let pages = if size == HugeSize::G1 { 2 } else { 4 };
        grow(mm, size, pages);
        let file = object(mm, size, 1);
        let spaces = live(mm, &file, (size, kind), &what);
        spaces.iter().for_each(|space| mm.destroy_space(space));
        mm.close_object(file);
        assert_eq!(mm.hugetlb.counts(size), counts(pages, pages, 0), "{what}");
        grow(mm, size, 0);
    });
}

/// Maps, writes, forks, writes on both sides, takes rights and gives them again, moves, discards, unmaps, truncates.
fn live(mm: &Mm, file: &ObjectUse, (size, kind): (HugeSize, Kind), what: &str) -> [KArc<AddressSpace>; 2] {
    let space = mm.new_space().unwrap();
    let bytes = size.bytes();
    let start = match kind {
        Kind::Private => map(mm, &space, size, 1),
        Kind::Shared => map_object(mm, &space, file, &of_object(size, 0, 1)),
        Kind::PrivateOfObject => {
            let shared = map_object(mm, &space, file, &of_object(size, 0, 1));
            write(mm, &space, shared, 9).unwrap();
            mm.munmap(&space, shared.raw(), bytes).unwrap();
            let start = map_object(mm, &space, file, &private(size, 0, 1));
            assert_eq!(read(mm, &space, start), 9, "{what}");
            start
        }
    };
    let middle = bytes / 2;
    let places = |start: VirtAddr| [start, start.add(middle), start.add(bytes - 1)];
    for (n, va) in places(start).into_iter().enumerate() {
        write(mm, &space, va, n as u8 + 1).unwrap();
    }
    let seen = |space: &KArc<AddressSpace>, start: VirtAddr| places(start).map(|va| read(mm, space, va));
    let child = mm.fork_space(&space).unwrap();
    assert_eq!(seen(&child, start), [1, 2, 3], "{what}");
    // Where the pool has no page more, nobody copies.
    let copies = size != HugeSize::G1 || kind == Kind::Private;
    if copies || kind == Kind::Shared {
        write(mm, &child, start.add(middle), 7).unwrap();
        let parent = if kind == Kind::Shared { [1, 7, 3] } else { [1, 2, 3] };
        assert_eq!((seen(&space, start), seen(&child, start)), (parent, [1, 7, 3]), "{what}");
    } else {
        assert_eq!(write(mm, &child, start.add(middle), 7), Err(FaultReason::HugetlbEmpty));
    }
    mm.mprotect(&space, start.raw(), bytes, MapProt::READ).unwrap();
    assert_eq!(write(mm, &space, start, 4), Err(FaultReason::Rights), "{what}");
    mm.mprotect(&space, start.raw(), bytes, RW).unwrap();
    let to = 0x20_0000_0000;
    let request = MremapRequest::from_raw(start.raw(), bytes, bytes, 3, to);
    assert_eq!(mm.mremap(&space, &request), Ok(VirtAddr::new(to)), "{what}");
    let to = VirtAddr::new(to);
    if copies || kind == Kind::Shared {
        write(mm, &space, to, 4).unwrap();
        let first = if kind == Kind::Shared { 4 } else { 1 };
        assert_eq!((read(mm, &space, to), read(mm, &child, start)), (4, first), "{what}");
    }
    mm.munmap(&child, start.raw(), bytes).unwrap();
    if size != HugeSize::G1 {
        mm.check_all().unwrap();
    }
    mm.madvise(&space, to.raw(), bytes, Advice::DontNeed).unwrap();
    let again = match kind {
        Kind::Private => 0,
        Kind::Shared => 4,
        Kind::PrivateOfObject => 9,
    };
    assert_eq!(read(mm, &space, to), again, "{what}");
    mm.truncate_object(file, 0).unwrap();
    if kind == Kind::Private {
        assert_eq!(read(mm, &space, to), 0);
    } else {
        assert_eq!(write(mm, &space, to, 1), Err(FaultReason::BeyondObject), "{what}");
    }
    [space, child]
}

/// 64 KiB, 2 MiB and 32 MiB.
#[test]
fn private_memory() {
    [HugeSize::K64, HugeSize::M2, HugeSize::M32].into_iter().for_each(|size| run(size, Kind::Private));
}

/// The same sizes.
#[test]
fn shared_memory() {
    [HugeSize::K64, HugeSize::M2, HugeSize::M32].into_iter().for_each(|size| run(size, Kind::Shared));
}

/// The same sizes.
#[test]
fn private_memory_of_an_object() {
    [HugeSize::K64, HugeSize::M2, HugeSize::M32]
        .into_iter()
        .for_each(|size| run(size, Kind::PrivateOfObject));
}

/// 1 GiB: each way of counting with one kind and one CPU, as it takes long.
#[test]
fn memory_of_1g() {
    let kinds = [Kind::Private, Kind::Shared, Kind::PrivateOfObject];
    for (n, &mapcount) in Mapcount::ALL.iter().enumerate() {
        run_one(HugeSize::G1, kinds[n % 3], mapcount, cpus()[n % 2]);
    }
}
