//! Groups of 16 page entries with the contiguous bit.

use arch::addr::PAGE_SIZE;
use arch::{PageSize, VirtAddr};
use mm::Mm;
use mm::config::{Contpte, ThpMode};
use mm::space::{AddressSpace, MapProt, MmapRequest};
use mm::stats::Counter;

use super::kit::{ThpSettings, expect};
use crate::selftest::{Failure, NotPassed, Verdict, check, check_eq, selftest};

selftest!("contpte::groups_unfold_for_their_parts", parts);
selftest!("contpte::programs_see_the_same_memory", programs);

const PAGES: u64 = 512;
const GROUP: u64 = 16;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// So many page entries of the 2 MiB have the contiguous bit.
fn folded(space: &AddressSpace, start: VirtAddr) -> u64 {
    let tree = space.ptl.lock();
    let has_bit = |page: &u64| tree.walk(start.add(page * PAGE_SIZE)).last().desc.is_contiguous();
    (0..PAGES).filter(has_bit).count() as u64
}

fn failed(error: impl core::fmt::Display) -> NotPassed {
    Failure::new(file!(), line!(), format_args!("{error}")).into()
}

/// A block that is split in one place has 31 folded groups; they keep the bit where all of a group changes, and lose it
/// where a part does. No byte changes.
fn parts(mm: &'static Mm) -> Verdict {
    if mm.config.contpte == Contpte::Off {
        return Err(NotPassed::Skipped("contpte=off"));
    }
    let _settings = ThpSettings::set(mm, ThpMode::Always, 256)?;
    let space = mm.new_space().map_err(failed)?;
    let verdict = parts_of(mm, &space);
    mm.destroy_space(&space);
    verdict
}

fn parts_of(mm: &Mm, space: &mm::kalloc::KArc<AddressSpace>) -> Verdict {
    let bytes = PageSize::Size2M.bytes();
    let start = mm.mmap(space, &MmapRequest::anonymous(bytes, RW).fixed(0x4000_0000)).map_err(failed)?;
    for page in 0..PAGES {
        let words = page.to_le_bytes();
        mm.write_user(space, start.add(page * PAGE_SIZE), &words)
            .map_err(|_| failed(format_args!("page {page} is not written")))?;
    }
    let protect = |first: u64, pages: u64, prot| {
        let at = start.add(first * PAGE_SIZE).raw();
        mm.mprotect(space, at, pages * PAGE_SIZE, prot).map_err(failed)
    };
    let steps = [
        (511, 1, MapProt::READ, PAGES - GROUP),
        (16, 16, MapProt::READ, PAGES - GROUP),
        (16, 16, MapProt::empty(), PAGES - GROUP),
        (16, 16, MapProt::READ, PAGES - GROUP),
        (40, 1, MapProt::READ, PAGES - 2 * GROUP),
        (64, 33, MapProt::READ, PAGES - 3 * GROUP),
    ];
    for (first, pages, prot, left) in steps {
        protect(first, pages, prot)?;
        let now = folded(space, start);
        check!(now == left, "{now} entries have the bit after {pages} pages from {first} on, not {left}");
    }
    for page in 0..PAGES {
        let mut word = [0; 8];
        let read = mm.read_user(space, start.add(page * PAGE_SIZE), &mut word).is_ok();
        check!(read && u64::from_le_bytes(word) == page, "page {page} holds {word:?}");
    }
    Ok(())
}

/// Programs that cut huge pages in all ways find their memory as it must be; groups came and went on the way.
fn programs(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Always, 256)?;
    let count = || [Counter::ContpteFold, Counter::ContpteUnfold].map(|counter| mm.stats.get(counter));
    let before = count();
    expect("mprot", &["mprot"], 0)?;
    expect("promote", &["promote", "seed=9", "ops=20"], 0)?;
    expect("fork", &["fork", "cow"], 0)?;
    let moved = count().iter().zip(before).all(|(now, before)| *now > before);
    check_eq!(moved, mm.config.contpte == Contpte::On, "groups were folded and unfolded");
    Ok(())
}
