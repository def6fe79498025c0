//! madvise and mincore: what they answer for every kind of memory, and what a program sees of it.

use arch::VirtAddr;
use arch::layout::USER_END;
use arch::model::{user_load, user_store};
use mm::Mm;
use mm::config::{HvoStrategy, ThpMode};
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::space::{AccessPattern, AddressSpace, Advice, Errno, MapFlags, MapProt, MmapRequest};
use mm::testkit::{Builder, with_space};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const R: MapProt = MapProt::READ;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
/// A multiple of 2 MiB in the middle of nowhere.
const BASE: u64 = 0x10_0000_0000;

fn map(mm: &Mm, space: &KArc<AddressSpace>, addr: u64, len: u64) {
    mm.mmap(space, &MmapRequest::anonymous(len, RW).fixed(addr)).unwrap();
}

/// What every advice is answered, for each kind of memory, as Linux without swap does; a number that is none is EINVAL,
/// whatever the range.
#[test]
fn advice_of_every_kind() {
    with_space(&Builder::new().config(|config| config.hvo = HvoStrategy::Off), |mm, _, space| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
        let (inval, high) = (Err(Errno::Inval), 0xffff_8000_0000_0000);
        map(mm, space, BASE, 4 * PAGE);
        map(mm, space, BASE + 8 * PAGE, PAGE);
        let shared = MmapRequest::from_raw(BASE + HUGE, HUGE, 3, 0x31, 0);
        mm.mmap(space, &shared).unwrap();
        let huge = MmapRequest::anonymous(HUGE, RW).with(MapFlags::HUGETLB).fixed(BASE + 2 * HUGE);
        mm.mmap(space, &huge).unwrap();
        for (raw, of_anon, of_object, of_hugetlb) in [
            (0, Ok(()), Ok(()), Ok(())),
            (1, Ok(()), Ok(()), Ok(())),
            (2, Ok(()), Ok(()), Ok(())),
            (3, Ok(()), Ok(()), Ok(())),
            (4, Ok(()), Ok(()), Ok(())),
            (8, Ok(()), inval, inval),
            (9, inval, Ok(()), inval),
            (14, Ok(()), Ok(()), Ok(())),
            (15, Ok(()), Ok(()), Ok(())),
            (20, Ok(()), Ok(()), inval),
            (21, Ok(()), Ok(()), inval),
            (22, Ok(()), Ok(()), Ok(())),
            (23, Ok(()), Ok(()), Ok(())),
            (26, inval, inval, inval),
            (25, inval, inval, inval),
        ] {
            let advice = Advice::from_raw(raw).unwrap();
            let errno = |addr, len| mm.madvise(space, addr, len, advice).map_err(|e| e.errno());
            assert_eq!(errno(BASE, PAGE), of_anon, "{advice:?} of anonymous memory");
            assert_eq!(errno(BASE + HUGE, HUGE), of_object, "{advice:?} of an object");
            assert_eq!(errno(BASE + 2 * HUGE, HUGE), of_hugetlb, "{advice:?} of hugetlb");
            assert_eq!(errno(BASE + 1, PAGE), inval, "{advice:?}, not aligned");
            assert_eq!(errno(BASE, u64::MAX), inval, "{advice:?} of 2^64 - 1 bytes");
            assert_eq!(errno(BASE, 0u64.wrapping_sub(PAGE)), inval, "{advice:?}, wrapping");
            assert_eq!(errno(BASE, 0), Ok(()), "{advice:?} of nothing");
            assert_eq!(errno(high, 0), Ok(()), "{advice:?} of nothing in the kernel");
            assert_eq!(errno(high, PAGE), Err(Errno::NoMem), "{advice:?} in the kernel");
            assert_eq!(errno(BASE + 5 * PAGE, PAGE), Err(Errno::NoMem), "{advice:?} of a hole");
            if of_anon.is_ok() {
                assert_eq!(errno(BASE, 9 * PAGE), Err(Errno::NoMem), "{advice:?} over a hole");
                // The rest was done: what the VMAs say is alike everywhere.
                assert_eq!(space.vma_count(), 4, "{advice:?}");
            }
        }
        for raw in [-1, 5, 7, 10, 13, 19, 27, 99, 1234] {
            assert_eq!(Advice::from_raw(raw).map_err(|e| e.errno()).map(drop), inval, "{raw}");
        }
        mm.munmap(space, BASE, 4 * HUGE).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// MADV_COLLAPSE passes over what is not mapped, and says so when the rest is done; at memory that is not anonymous it
/// ends, and what lies behind stays as it was.
#[test]
fn collapse_over_what_is_none_of_its_business() {
    type Between = fn(&Mm, &KArc<AddressSpace>);
    let hole: Between = |_, _| ();
    let object: Between = |mm, space| {
        mm.mmap(space, &MmapRequest::from_raw(BASE + HUGE, HUGE, 3, 0x31, 0)).unwrap();
    };
    let hugetlb: Between = |mm, space| {
        let huge = MmapRequest::anonymous(HUGE, RW).with(MapFlags::HUGETLB);
        mm.mmap(space, &huge.fixed(BASE + HUGE)).unwrap();
    };
    for (between, errno, behind) in
        [(hole, Errno::NoMem, HUGE), (object, Errno::Inval, PAGE), (hugetlb, Errno::Inval, PAGE)]
    {
        let small = Builder::new().config(|config| {
            (config.thp, config.hvo) = (ThpMode::Never, HvoStrategy::Off);
        });
        with_space(&small, |mm, _, space| {
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
            for at in [BASE, BASE + 2 * HUGE] {
                map(mm, space, at, HUGE);
                user_store(VirtAddr::new(at), at).unwrap();
            }
            between(mm, space);
            let collapsed = mm.madvise(space, BASE, 3 * HUGE, Advice::Collapse);
            assert_eq!(collapsed.map_err(|error| error.errno()), Err(errno));
            assert_eq!(mm.usage(space).anon * PAGE, HUGE + behind);
            for at in [BASE, BASE + 2 * HUGE] {
                assert_eq!(user_load(VirtAddr::new(at)), Ok(at));
            }
            mm.munmap(space, BASE, 3 * HUGE).unwrap();
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
        });
    }
}

/// The order of use is noted in the VMA, which is cut for it and becomes whole again.
#[test]
fn advice_on_the_order_of_use() {
    with_space(&Builder::new(), |mm, _, space| {
        let patterns = || {
            let mut all = Vec::new();
            space.for_each_vma(|vma| all.push(vma.pattern));
            all
        };
        use AccessPattern::{Normal, Random, Sequential};
        map(mm, space, BASE, 8 * PAGE);
        mm.madvise(space, BASE + PAGE, PAGE, Advice::Random).unwrap();
        mm.madvise(space, BASE + 2 * PAGE, PAGE, Advice::Sequential).unwrap();
        assert_eq!(patterns(), [Normal, Random, Sequential, Normal]);
        mm.madvise(space, BASE, 4 * PAGE, Advice::WillNeed).unwrap();
        mm.madvise(space, BASE, 2 * PAGE, Advice::Sequential).unwrap();
        assert_eq!(patterns(), [Sequential, Normal]);
        mm.madvise(space, BASE, 8 * PAGE, Advice::Normal).unwrap();
        assert_eq!(patterns(), [Normal]);
        assert_eq!(mm.usage(space).anon, 0, "nothing was touched");
    });
}

/// mincore tells of entries of every size, of pages of an object that are mapped elsewhere, of the page of zeros; it
/// goes up to the end of a VMA, and a hole is ENOMEM.
#[test]
fn mincore() {
    let thp = |mode| Builder::new().config(move |config| config.thp = mode);
    with_space(&thp(ThpMode::Always), |mm, _, space| {
        let told = |page: u64, pages| {
            let mut bytes = vec![7; pages];
            let told =
                mm.mincore(space, VirtAddr::new(BASE + page * PAGE), &mut bytes).map_err(|e| e.errno())?;
            assert!(bytes[told..].iter().all(|&byte| byte == 7), "beyond what was told of");
            bytes.truncate(told);
            Ok(bytes)
        };
        map(mm, space, BASE, 2 * HUGE);
        assert_eq!(told(0, 3), Ok(vec![0; 3]));
        user_store(VirtAddr::new(BASE + 3 * PAGE), 1).unwrap();
        assert_eq!(told(0, 514), Ok([vec![1; 512], vec![0; 2]].concat()), "a block");
        mm.mprotect(space, BASE + 511 * PAGE, PAGE, R).unwrap();
        assert_eq!(told(510, 9), Ok(vec![1]), "the end of a VMA");
        assert_eq!(told(511, 9), Ok(vec![1]));
        mm.munmap(space, BASE + HUGE, HUGE).unwrap();
        assert_eq!(told(512, 1), Err(Errno::NoMem), "a hole");
        assert_eq!(told(512, 0), Err(Errno::NoMem));
        map(mm, space, BASE + HUGE, 8 * PAGE);
        mm.madvise(space, BASE + HUGE, 8 * PAGE, Advice::NoHugePage).unwrap();
        user_load(VirtAddr::new(BASE + HUGE + PAGE)).unwrap();
        user_store(VirtAddr::new(BASE + HUGE + 6 * PAGE), 1).unwrap();
        assert_eq!(told(512, 100), Ok(vec![0, 1, 0, 0, 0, 0, 1, 0]), "zeros, and a page");
        let shared = MmapRequest::from_raw(BASE + 2 * HUGE, 4 * PAGE, 3, 0x31, 0);
        mm.mmap(space, &shared).unwrap();
        user_store(VirtAddr::new(BASE + 2 * HUGE + PAGE), 1).unwrap();
        mm.madvise(space, BASE + 2 * HUGE, 4 * PAGE, Advice::DontNeed).unwrap();
        assert_eq!(told(1024, 4), Ok(vec![0, 1, 0, 0]), "the object has it");
        for va in [0xffff_8000_0000_0000, USER_END.raw(), 0] {
            let error = mm.mincore(space, VirtAddr::new(va), &mut [0]).map_err(|e| e.errno());
            assert_eq!(error, Err(Errno::NoMem), "{va:#x}");
        }
    });
}
