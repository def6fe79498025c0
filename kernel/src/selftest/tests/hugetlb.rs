//! The hugetlb pool.

use mm::Mm;
use mm::hugetlb;
use mm::hugetlb::HugeSize;

use super::kit::expect;
use crate::println;
use crate::selftest::{Verdict, check, check_eq, require, selftest};

/// As a shell shows the end by SIGBUS.
const SIGBUS: u8 = 135;

selftest!("hugetlb::a_program_uses_the_whole_pool", a_program_uses_the_whole_pool);
selftest!("hugetlb::the_pool_grows_and_shrinks", the_pool_grows_and_shrinks);
selftest!("hugetlb::promises_are_kept", promises_are_kept);
selftest!("hugetlb::pages_of_each_size", pages_of_each_size);
selftest!("hugetlb::faults_are_served_by_others", faults_are_served);
selftest!("hugetlb::memory_fails", memory_fails);

/// A program maps and verifies huge pages, is refused what there is not, and the pool is as before.
fn a_program_uses_the_whole_pool(mm: &'static Mm) -> Verdict {
    let before = mm.hugetlb.counts(HugeSize::M2);
    let size = mm.hugetlb.set_nr(mm, HugeSize::M2, before.nr.max(2)).persistent;
    let status = if size == 2 {
        expect("hugetlb", &["hugetlb", "1", "pool=2"], 0)
    } else {
        expect("hugetlb", &["hugetlb", "2"], 0)
    };
    let back = mm.hugetlb.set_nr(mm, HugeSize::M2, before.nr);
    status?;
    check_eq!(back.persistent, before.nr, "the size of the pool");
    check_eq!(mm.hugetlb.counts(HugeSize::M2), before, "the pool's numbers");
    Ok(())
}

/// Three folios more, then three fewer: numbers and free pages follow.
fn the_pool_grows_and_shrinks(mm: &'static Mm) -> Verdict {
    let before = mm.hugetlb.counts(HugeSize::M2);
    let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, before.nr + 3);
    let counts = mm.hugetlb.counts(HugeSize::M2);
    let shrunk = mm.hugetlb.set_nr(mm, HugeSize::M2, before.nr);
    check_eq!((grown.persistent, grown.unoptimized), (before.nr + 3, None), "the pool after growing");
    check_eq!((counts.nr, counts.free), (before.nr + 3, before.free + 3), "its numbers");
    check_eq!((shrunk.persistent, shrunk.unrestored), (before.nr, None), "the pool after shrinking");
    Ok(())
}

/// What is promised is not given to others, nor back to the buddy allocator.
fn promises_are_kept(mm: &'static Mm) -> Verdict {
    let before = mm.hugetlb.counts(HugeSize::M2);
    require!(before.free > 0, "a folio in the pool");
    let promised = hugetlb::reserve(mm, HugeSize::M2, before.free);
    let refused = hugetlb::reserve(mm, HugeSize::M2, 1);
    let shrunk = mm.hugetlb.set_nr(mm, HugeSize::M2, 0);
    if promised.is_ok() {
        hugetlb::unreserve(mm, HugeSize::M2, before.free);
    }
    let back = mm.hugetlb.set_nr(mm, HugeSize::M2, before.nr);
    check!(promised.is_ok(), "the free folios cannot be promised: {promised:?}");
    check!(refused.is_err(), "one more than there is was promised");
    check_eq!(shrunk.persistent, before.nr - before.free, "folios left that the pool keeps");
    check_eq!(back.persistent, before.nr, "folios at the end");
    Ok(())
}

/// A program uses the pool of each size of which memory has three pages, and the pool is as before.
fn pages_of_each_size(mm: &'static Mm) -> Verdict {
    for (size, shift) in HugeSize::ALL.into_iter().zip(["shift=16", "shift=21", "shift=25", "shift=30"]) {
        with_three_pages(mm, size, || expect("hugesizes", &["hugesizes", shift], 0))?;
    }
    Ok(())
}

/// Minor faults wait for a child, the kernel's source, or nobody any more, and each request refuses what it must. Who
/// waits for ever is ended with his family, and a page that is taken away meanwhile is a SIGBUS.
fn faults_are_served(mm: &'static Mm) -> Verdict {
    for (size, shift) in [(HugeSize::K64, "shift=16"), (HugeSize::M2, "shift=21")] {
        with_three_pages(mm, size, || {
            expect("userfault", &["userfault", shift], 0)?;
            expect("postcopy", &["postcopy", shift, "pages=3", "touches=100", "rounds=2", "quiet=1"], 0)?;
            expect("userfault", &["userfault", "stuck", shift], 0)?;
            expect("userfault", &["userfault", "beyond", shift], SIGBUS)
        })?;
    }
    check_eq!(mm.objects.len(), 0, "objects that are left");
    Ok(())
}

/// Runs it with three pages in the pool, where memory has them and nobody uses the pool.
fn with_three_pages(mm: &'static Mm, size: HugeSize, run: impl FnOnce() -> Verdict) -> Verdict {
    let before = mm.hugetlb.counts(size);
    if before.nr != before.free {
        println!("# {size}: pages of the pool are in use");
        return Ok(());
    }
    let grown = mm.hugetlb.set_nr(mm, size, 3).persistent;
    let status = match grown {
        3 => run(),
        pages => {
            println!("# {size}: memory has {pages} pages of 3");
            Ok(())
        }
    };
    let back = mm.hugetlb.set_nr(mm, size, before.nr);
    status?;
    check_eq!(back.persistent, before.nr, "the size of the pool");
    check_eq!(mm.hugetlb.counts(size), before, "the pool's numbers");
    Ok(())
}

/// Pages of the pools of 64 KiB and 2 MiB fail while a program has them: it gets an error and no other page, and all
/// but the frames that failed comes back.
fn memory_fails(mm: &'static Mm) -> Verdict {
    for (size, shift) in [(HugeSize::K64, "shift=16"), (HugeSize::M2, "shift=21")] {
        let (before, failed) = (mm.hugetlb.counts(size), mm.failed_frames());
        if before.nr != before.free {
            println!("# {size}: pages of the pool are in use");
            continue;
        }
        let grown = mm.hugetlb.set_nr(mm, size, 6).persistent;
        let status = match grown {
            6 => expect("poison", &["poison", shift], 0)
                .and_then(|()| expect("poison", &["poison", "private", shift], SIGBUS))
                .and_then(|()| expect("poison", &["poison", "shared", shift], SIGBUS)),
            pages => {
                println!("# {size}: memory has {pages} pages of 6");
                Ok(())
            }
        };
        let after = mm.hugetlb.counts(size);
        let back = mm.hugetlb.set_nr(mm, size, before.nr);
        status?;
        if grown == 6 {
            // One of each page that fails; without entries of 4 KiB it is one page fewer.
            let lost = mm.failed_frames() - failed;
            check!(lost == 5 || lost == 4, "{lost} frames have failed");
            check_eq!((after.nr, after.free, after.reserved), (6 - lost, 6 - lost, 0), "the pool after that");
        }
        check_eq!(back.persistent, before.nr, "the size of the pool");
    }
    Ok(())
}
