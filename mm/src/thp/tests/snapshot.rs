//! The snapshot pattern: a parent forks, the child reads all, the parent writes on, the child goes. Then the parent's
//! ranges are huge again, in the frames in which they were, whatever had made them huge.

use super::*;
use crate::config::{HvoStrategy, Mapcount, MmConfig, ThpMode};
use crate::page::page_of;
use crate::rmap::deferred;
use crate::space::Advice;
use crate::thp::holes::{Ask, Noted};
use crate::thp::promote::{PromoteError, promote_range};

/// What the parent's range is when it forks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    /// Full, with its reservation: page entries.
    Reserved,
    /// Promoted in place.
    Promoted,
    /// A huge page since the first fault.
    Huge,
}

const ALL: [Before; 3] = [Before::Reserved, Before::Promoted, Before::Huge];

fn machine(before: Before) -> Builder {
    threshold(256).config(move |config| {
        config.thp = if before == Before::Huge { ThpMode::Always } else { ThpMode::Reserve };
    })
}

/// What the parent writes after the fork: another word in each page.
fn later(page: u64) -> u64 {
    word(page) ^ 0xffff_0000
}

/// `n` pages of a range, here and there.
fn some(n: u64) -> Vec<u64> {
    (0..n).map(|k| k * 37 % RANGE_PAGES).collect()
}

impl Site<'_> {
    /// Fills the first range and makes it what it is to be before the fork.
    fn fill(&self, before: Before) {
        self.store_all(0..RANGE_PAGES);
        if before == Before::Promoted {
            assert_eq!(self.drain(), 1);
        }
        assert_eq!(self.is_block(0), before != Before::Reserved);
    }
    pub(super) fn fork(&self) -> KArc<AddressSpace> {
        self.mm.fork_space(&self.space).unwrap()
    }
    /// Each page of the first range reads in the space as was stored before the fork, but for those of `written`.
    fn assert_reads(&self, space: &KArc<AddressSpace>, written: &[u64]) {
        for page in 0..RANGE_PAGES {
            let expected = if written.contains(&page) { later(page) } else { word(page) };
            let mut bytes = [0; 8];
            self.mm.read_user(space, va(page), &mut bytes).unwrap();
            assert_eq!(u64::from_le_bytes(bytes), expected, "page {page} of space {}", space.id);
        }
    }
    fn write_later(&self, pages: &[u64]) {
        pages.iter().for_each(|&page| model::user_store(va(page), later(page)).unwrap());
    }
    fn frame(&self, page: u64) -> arch::Pfn {
        self.leaf(page).unwrap().1.pfn()
    }
    fn stray_count(&self) -> u64 {
        self.get(Counter::ResPagesBroughtBack)
    }
    /// The first range is a block again, in the block in which it was, with all that was written; nothing is left over.
    fn assert_whole(&self, block: arch::Pfn, written: &[u64]) {
        assert_eq!(self.leaf(0), Some((Level::L2, block.phys())));
        self.assert_reads(&self.space, written);
        let anon = (self.get(Counter::NrAnon), self.get(Counter::NrAnonThp));
        assert_eq!(anon, (RANGE_PAGES, 1));
        assert_eq!(deferred::backlog(self.mm), 0);
        assert_eq!(self.space.holes.count(), 0);
        self.check();
        let head = page_of(block);
        assert_eq!((head.refcount(), head.is_folio(), head.kind()), (1, true, PageKind::Anon));
    }
}

/// One written page, as many as one round brings back, one more, many, and all but one: the parent ends huge, the child
/// has seen what was there at the fork, and each stray is counted.
#[test]
fn the_parent_ends_huge() {
    for before in ALL {
        for n in [1, 64, 65, 200, 511] {
            with_site(machine(before), |site| {
                site.fill(before);
                let (block, written) = (site.frame(0), some(n));
                let child = site.fork();
                site.assert_reads(&child, &[]);
                site.write_later(&written);
                assert_eq!(site.drain(), 0, "{before:?}, {n} pages, and the child lives");
                site.assert_reads(&child, &[]);
                site.assert_reads(&site.space, &written);
                site.check();
                assert_eq!(site.get(Counter::CowCopy), n);
                site.mm.destroy_space(&child);
                assert_eq!(promoter::backlog(site.mm), 1);
                site.check();
                assert_eq!(site.drain(), 1, "{before:?}, {n} pages");
                site.assert_whole(block, &written);
                assert_eq!(site.stray_count(), n);
                let by_reservation = u64::from(before != Before::Huge);
                let reunited = u64::from(before != Before::Reserved);
                assert_eq!(site.get(Counter::ResPagesCollapsed), by_reservation);
                assert_eq!(site.get(Counter::ThpReunited), reunited);
                assert_eq!(site.get(Counter::ResPagesFilled), 0);
                // Everything is writable again, and nothing is copied for it.
                site.write_later(&(0..RANGE_PAGES).collect::<Vec<_>>());
                assert_eq!(site.get(Counter::CowCopy), n);
            });
        }
    }
}

/// All pages are written while the child lives, so nothing is left of the huge page when it has gone: the copies come
/// together in a new block; where huge pages are not wanted any more, or there is no block, they stay where they are.
#[test]
fn every_page_was_written() {
    for before in [Before::Promoted, Before::Huge] {
        for why_not in [None, Some(ThpMode::Never)] {
            with_site(machine(before), |site| {
                site.fill(before);
                let written = some(RANGE_PAGES);
                let child = site.fork();
                site.write_later(&written);
                site.mm.destroy_space(&child);
                site.check();
                if let Some(mode) = why_not {
                    site.mm.thp.set_mode(mode);
                    assert_eq!((site.drain(), site.space.holes.count()), (0, 0));
                    return site.assert_reads(&site.space, &written);
                }
                assert_eq!(site.drain(), 1);
                site.assert_whole(site.frame(0), &written);
                assert_eq!((site.stray_count(), site.get(Counter::ThpReunited)), (RANGE_PAGES, 1));
            });
        }
    }
}

/// The same under every way of counting.
#[test]
fn every_way_of_counting() {
    for &scheme in Mapcount::ALL {
        for before in ALL {
            let choose = move |config: &mut MmConfig| {
                (config.mapcount, config.hvo) = (scheme, HvoStrategy::Off);
                config.thp = if before == Before::Huge { ThpMode::Always } else { ThpMode::Reserve };
            };
            with_site(threshold(256).config(choose), |site| {
                site.fill(before);
                let (block, written) = (site.frame(0), some(100));
                let child = site.fork();
                site.write_later(&written[..70]);
                site.mm.write_user(&child, va(9), &[1]).unwrap();
                site.mm.destroy_space(&child);
                site.write_later(&written);
                site.check();
                assert_eq!(site.drain(), 1, "{scheme:?} {before:?}");
                site.assert_whole(block, &written);
                // And once more: the counts are those of a block.
                let child = site.fork();
                site.write_later(&written);
                site.check();
                site.mm.destroy_space(&child);
                assert_eq!(site.drain(), 1, "{scheme:?} {before:?}, again");
                site.assert_whole(block, &written);
            });
        }
    }
}

/// Two children, and a grandchild: while one of them lives the note is kept, and the last one's end brings the block
/// back.
#[test]
fn the_last_of_several_children() {
    for before in ALL {
        with_site(machine(before), |site| {
            site.fill(before);
            let (block, written) = (site.frame(0), some(40));
            let first = site.fork();
            site.write_later(&written[..20]);
            let second = site.fork();
            site.write_later(&written);
            let third = site.mm.fork_space(&second).unwrap();
            for child in [&first, &second, &third] {
                assert_eq!(site.drain(), 0);
                assert_eq!(site.space.holes.count(), 1);
                site.check();
                site.mm.destroy_space(child);
            }
            assert_eq!(site.drain(), 1);
            site.assert_whole(block, &written);
        });
    }
}

/// The child writes too, to pages that the parent writes and to others: each keeps its own, and the parent ends huge.
#[test]
fn the_child_writes_too() {
    for before in ALL {
        with_site(machine(before), |site| {
            site.fill(before);
            let (block, written) = (site.frame(0), some(30));
            let child = site.fork();
            for page in (0..RANGE_PAGES).step_by(3) {
                site.mm.write_user(&child, va(page), &[7]).unwrap();
            }
            site.write_later(&written);
            site.check();
            assert_eq!(site.get(Counter::ThpResAlloc), u64::from(before != Before::Huge));
            site.mm.destroy_space(&child);
            assert_eq!(site.drain(), 1);
            site.assert_whole(block, &written);
        });
    }
}

/// The parent ends first: the child that goes on has a huge page of its own again. Of a reservation, which has ended
/// with the parent, the slot of the page that the child has copied is gone, and so the pages come together in a new
/// block.
#[test]
fn the_child_goes_on_alone() {
    for before in ALL {
        with_site(machine(before), |site| {
            site.fill(before);
            let block = site.frame(0);
            let parent = site.mm.fork_space(&site.space).unwrap();
            let child = site.mm.fork_space(&parent).unwrap();
            site.mm.munmap(&site.space, BASE.raw(), RANGE_BYTES).unwrap();
            site.mm.write_user(&child, va(3), &word(3).to_le_bytes()).unwrap();
            assert_eq!(site.drain(), 0);
            site.mm.destroy_space(&parent);
            assert_eq!(site.drain(), 1, "{before:?}");
            let leaf = child.ptl.lock().walk(va(3)).leaf().unwrap();
            let stays = leaf.desc.output(Level::L2) == block.phys();
            assert_eq!((leaf.level, stays), (Level::L2, before != Before::Reserved));
            assert_eq!(site.stray_count(), if stays { 1 } else { RANGE_PAGES });
            site.assert_reads(&child, &[]);
            site.mm.destroy_space(&child);
        });
    }
}

/// A reference to the huge page, or a pin of a stray, stops it, and nothing is lost; when it is gone the request that
/// waits succeeds.
#[test]
fn somebody_holds_a_page() {
    for before in ALL {
        for page in [37, 201] {
            with_site(machine(before), |site| {
                site.fill(before);
                let (block, written) = (site.frame(0), some(100));
                assert_eq!((written.contains(&37), written.contains(&201)), (true, false));
                let child = site.fork();
                site.write_later(&written);
                site.mm.destroy_space(&child);
                let held = page_of(site.frame(page)).head(site.mm.config.tails).try_get().unwrap();
                assert_eq!(site.drain(), 0, "{before:?}, page {page}");
                assert_eq!(site.space.holes.count(), 1);
                site.assert_reads(&site.space, &written);
                site.mm.put_folio(held);
                site.check();
                if site.drain() == 0 {
                    // A stray that is held does not look different from one that is shared: nobody waits for it.
                    assert!(written.contains(&page));
                    again::submit_hole(site.mm, &site.space, BASE);
                    assert_eq!(site.drain(), 1);
                }
                site.assert_whole(block, &written);
            });
        }
    }
}

/// The child lives on and unmaps what it shared: the parent's range is asked for.
#[test]
fn the_child_unmaps() {
    for before in ALL {
        with_site(machine(before), |site| {
            site.fill(before);
            let block = site.frame(0);
            let child = site.fork();
            site.write_later(&[5]);
            site.drain();
            site.mm.munmap(&child, BASE.raw(), RANGE_BYTES).unwrap();
            assert_eq!(site.drain(), 1);
            site.assert_whole(block, &[5]);
            site.mm.destroy_space(&child);
        });
    }
}

/// The child gives up what it shared while nobody has noted that the parent's range is small: the parent's next write
/// to a page that is its own again asks for the range.
#[test]
fn the_next_write_asks() {
    for before in ALL {
        with_site(machine(before), |site| {
            site.fill(before);
            let block = site.frame(0);
            let child = site.fork();
            site.write_later(&[5]);
            (0..promoter::MOST_ATTEMPTS).for_each(|_| assert_eq!(site.drain(), 0));
            assert!(site.space.holes.lose(&site.space.lineage, BASE));
            site.mm.madvise(&child, BASE.raw(), RANGE_BYTES, Advice::DontNeed).unwrap();
            assert_eq!((site.drain(), site.is_block(0)), (0, false));
            site.write_later(&[6]);
            assert_eq!(site.get(Counter::CowCopy), 1);
            assert_eq!(site.drain(), 1);
            site.assert_whole(block, &[5, 6]);
            site.mm.destroy_space(&child);
        });
    }
}

/// A part that was given up comes back, as zeros, where enough is left; where too little is, it stays away.
#[test]
fn given_up_parts_are_filled_by_the_threshold() {
    for (kept, huge) in [(256, true), (255, false)] {
        with_site(machine(Before::Promoted), |site| {
            site.fill(Before::Promoted);
            let block = site.frame(0);
            let child = site.fork();
            site.write_later(&[1]);
            site.mm.destroy_space(&child);
            let rest = (RANGE_PAGES - kept) * PAGE_SIZE;
            site.mm.madvise(&site.space, va(kept).raw(), rest, Advice::DontNeed).unwrap();
            assert_eq!(site.load(kept), (0, 0));
            assert_eq!(site.drain(), u64::from(huge));
            if !huge {
                again::submit_hole(site.mm, &site.space, BASE);
                assert_eq!(site.drain(), 0);
                let error = promote_range(site.mm, &site.space, BASE);
                assert_eq!(error, Err(PromoteError::BelowThreshold(kept)));
                return;
            }
            assert_eq!(site.leaf(0), Some((Level::L2, block.phys())));
            assert_eq!(site.get(Counter::ResPagesFilled), RANGE_PAGES - kept);
            for page in 0..RANGE_PAGES {
                let expected = if page == 1 { later(1) } else { word(page) };
                assert_eq!(site.load(page), (if page < kept { expected } else { 0 }, 0), "page {page}");
            }
            assert_eq!((site.get(Counter::NrAnon), deferred::backlog(site.mm)), (RANGE_PAGES, 0));
        });
    }
}

/// Memory is short when the child has gone, and the huge page is split, as it is mapped in part: its pages come
/// together in a new block.
#[test]
fn pressure_while_the_child_is_gone() {
    with_site(machine(Before::Promoted), |site| {
        site.fill(Before::Promoted);
        let (block, written) = (site.frame(0), some(20));
        let child = site.fork();
        site.write_later(&written);
        site.mm.destroy_space(&child);
        assert_eq!(deferred::backlog(site.mm), 1);
        site.mm.reclaim(u64::MAX);
        assert_eq!((deferred::backlog(site.mm), page_of(block).is_folio()), (0, false));
        assert_eq!((site.drain(), site.stray_count()), (1, RANGE_PAGES));
        site.assert_whole(site.frame(0), &written);
    });
}

/// What has no folio of its own is not reunited: small pages, zeros, a block.
#[test]
fn what_is_none_of_its_own() {
    with_site(threshold(256).config(|config| config.thp = ThpMode::Defer), |site| {
        let promote = || promote_range(site.mm, &site.space, BASE);
        assert_eq!(promote(), Err(PromoteError::NoReservation));
        assert_eq!(site.load(0), (0, 0));
        assert_eq!(promote(), Err(PromoteError::NoReservation));
        // Not in their order, so that they are not at their places of a block.
        site.store_all((0..RANGE_PAGES).step_by(2));
        site.store_all((1..RANGE_PAGES).step_by(2));
        assert_eq!(promote(), Err(PromoteError::NoReservation));
        site.mm.thp.set_mode(ThpMode::Always);
        site.store(RANGE_PAGES);
        assert!(site.is_block(RANGE_PAGES));
        assert_eq!(promote_range(site.mm, &site.space, va(RANGE_PAGES)), Err(PromoteError::NoReservation));
        assert_eq!(site.get(Counter::ResCollapseFailed), 0);
    });
}

/// More ranges than may be noted: the rest is found by the next write. An ended space takes no notes.
#[test]
fn notes_are_bounded() {
    with_site(machine(Before::Huge), |site| {
        let (holes, lineage) = (&site.space.holes, &site.space.lineage);
        let note = |va| holes.note(lineage, va, Ask::Now) != Noted::No;
        crate::kalloc::inject::fail_nth(1);
        assert!(!note(BASE) && crate::kalloc::inject::disarm());
        let range = |n: usize| VirtAddr::new(n as u64 * RANGE_BYTES);
        for n in (0..crate::thp::holes::MOST).rev() {
            assert!(note(range(n)) && note(range(n).add(PAGE_SIZE)));
        }
        assert_eq!(holes.count(), crate::thp::holes::MOST);
        assert!(!note(range(crate::thp::holes::MOST)));
        site.check();
        again::submit_hole(site.mm, &site.space, range(0));
        assert_eq!((site.drain(), holes.count()), (0, 0));
        promoter::cancel(site.mm, &site.space);
        assert!(!note(BASE));
    });
}
