//! Spaces that descend from each other by fork, and what must be read in each.
//!
//! Each vCPU has a word of its own in each page and writes rising numbers to it. Before a store it says what it begins
//! to write, after it what it has written; so whoever reads the word at any moment reads something in between. A
//! child's word is in between what was written when the fork began and what was begun when it had ended; once its
//! writer has read it there, it is that and nothing else. Of an object that all map, shared and private, `view` knows
//! what must be read.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arch::VirtAddr;
use arch::model::{user_load, user_store};

use super::area::{Change, Kind};
use super::hold::Hold;
use super::object::{Book, PAGES as PAGES_OF_OBJECT};
use super::stage::{CPUS, Stage};
use super::view::View;
use super::words::Unit;
use crate::Mm;
use crate::kalloc::KArc;
use crate::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use crate::testkit::Random;
use crate::testkit::host_env::lock;

/// First address of what all share.
const BASE: u64 = 0x4000_0000;
/// Pages of it: three ranges of 2 MiB.
const LENGTH: u64 = 1536;
/// The pages that are used of the first two.
const FEW: [u64; 6] = [0, 1, 2, 511, 512, 700];
/// Pages that are used of the third one: more than a promotion brings back in one round.
const MANY: usize = 100;
/// All pages that are used.
const PAGES: usize = FEW.len() + MANY;
/// Pages that one vCPU maps and unmaps for itself.
const SCRATCH: u64 = 0x8000_0000;
/// Where an object is mapped, shared, and behind it, private: one of small pages from three below.
const OBJECT: u64 = 0xc000_0000;
const PAGE: u64 = 4096;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// Nobody may enter: the space ends.
const CLOSED: usize = usize::MAX;

/// What one vCPU has written to its word of one page.
#[derive(Default)]
struct Word {
    /// The last that it has begun to write.
    begun: AtomicU64,
    /// The last that is there for sure.
    done: AtomicU64,
}

/// One space.
pub(super) struct Member {
    space: KArc<AddressSpace>,
    /// vCPUs that run it; [`CLOSED`].
    inside: AtomicUsize,
    /// By vCPU and page.
    words: Vec<Word>,
    /// What it has of the object: shared, and private.
    views: [Arc<View>; 2],
    /// Changes of rights that have begun, and that have ended.
    changes: [AtomicUsize; 2],
}

fn word(cpu: usize, page: usize) -> usize {
    cpu * PAGES + page
}

/// Where a page that is used begins.
fn start(page: usize) -> u64 {
    let page = FEW.get(page).copied().unwrap_or(1024 + 5 * page as u64 % 512);
    BASE + page * PAGE
}

fn address(cpu: usize, page: usize) -> VirtAddr {
    VirtAddr::new(start(page) + 8 * cpu as u64)
}

impl Member {
    fn new(space: KArc<AddressSpace>, words: Vec<Word>, views: [Arc<View>; 2]) -> Arc<Self> {
        Arc::new(Member { space, inside: AtomicUsize::new(0), words, views, changes: Default::default() })
    }

    /// The space is this vCPU's to run, unless it ends.
    fn enter(self: &Arc<Self>, stage: &Stage<'_>) -> bool {
        let enter = |inside| (inside != CLOSED).then(|| inside + 1);
        let may = self.inside.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).is_ok();
        if may {
            stage.switch_to(Some(&self.space));
        }
        may
    }

    fn leave(&self, stage: &Stage<'_>) {
        stage.switch_to(None);
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether rights may have been fewer at some moment since `before`, which this returned first.
    fn rights_since(&self, before: Option<[usize; 2]>) -> [usize; 2] {
        let now = [0, 1].map(|n| self.changes[n].load(Ordering::SeqCst));
        before.map_or(now, |before| if before == now && now[0] == now[1] { now } else { [0, usize::MAX] })
    }

    /// This vCPU writes `value` to its word.
    fn store(&self, cpu: usize, page: usize, value: u64) {
        let word = &self.words[word(cpu, page)];
        let (settled, rights) = (word.done.load(Ordering::SeqCst), self.rights_since(None));
        if word.begun.load(Ordering::SeqCst) != settled {
            self.load(cpu, cpu, page);
        }
        word.begun.store(value, Ordering::SeqCst);
        match user_store(address(cpu, page), value) {
            Ok(()) => word.done.store(value, Ordering::SeqCst),
            Err(fault) => {
                let met = self.rights_since(Some(rights)) == [0, usize::MAX];
                assert!(met, "a store to page {page} of space {} failed: {fault:?}", self.space.id);
                word.begun.store(word.done.load(Ordering::SeqCst), Ordering::SeqCst);
            }
        }
    }

    /// vCPU `reader` reads the word of `cpu`.
    fn load(&self, reader: usize, cpu: usize, page: usize) {
        let word = &self.words[word(cpu, page)];
        let least = word.done.load(Ordering::SeqCst);
        let value = user_load(address(cpu, page));
        let most = word.begun.load(Ordering::SeqCst);
        let Ok(value) = value else { panic!("a load of page {page} of space {}: {value:?}", self.space.id) };
        assert!(
            least <= value && value <= most,
            "vCPU {reader} read {value} in page {page} of space {}, where vCPU {cpu} has written {least} to {most}",
            self.space.id
        );
        if reader == cpu {
            word.begun.store(value, Ordering::SeqCst);
            word.done.store(value, Ordering::SeqCst);
        }
    }

    /// Takes the right to write away for a moment.
    fn protect(&self, mm: &Mm, page: usize) {
        let at = start(page);
        self.changes[0].fetch_add(1, Ordering::SeqCst);
        // Memory may be out: then nothing has changed.
        let _ = mm.mprotect(&self.space, at, PAGE, MapProt::READ);
        while mm.mprotect(&self.space, at, PAGE, RW).is_err() {}
        self.changes[1].fetch_add(1, Ordering::SeqCst);
    }

    /// Maps a page of this vCPU's own, uses it, and unmaps it.
    fn scratch(&self, mm: &Mm, cpu: usize, value: u64) {
        let at = SCRATCH + cpu as u64 * PAGE;
        if mm.mmap(&self.space, &MmapRequest::anonymous(PAGE, RW).fixed(at)).is_ok() {
            assert_eq!(user_load(VirtAddr::new(at)), Ok(0), "new memory");
            assert_eq!(user_store(VirtAddr::new(at), value), Ok(()));
            assert_eq!(user_load(VirtAddr::new(at)), Ok(value));
            assert!(value.is_multiple_of(2) || mm.munmap(&self.space, at, PAGE).is_ok());
        }
    }

    /// One random thing that is done to the object, but for changes of rights and of mappings; or with a page of it
    /// that is pinned, in whatever space.
    fn use_object(&self, mm: &Mm, hold: &mut Option<Hold>, random: &mut Random) {
        let view = &self.views[random.below(2) as usize];
        match random.below(8) {
            0 => view.take_any(mm, &self.space, random),
            1 | 2 => view.use_pinned(mm, &self.space, hold, random),
            3 if view.book.unit() != Unit::Page => view.treat_pages(mm, &self.space, random),
            _ => view.access_any(mm, &self.space, hold, random),
        }
    }

    /// A child, if there is memory for it.
    fn fork(&self, mm: &Mm) -> Option<Arc<Member>> {
        let all = |which: fn(&Word) -> &AtomicU64| -> Vec<u64> {
            self.words.iter().map(|word| which(word).load(Ordering::SeqCst)).collect()
        };
        let least = all(|word| &word.done);
        let before = self.views.each_ref().map(|view| view.before_fork());
        let child = mm.fork_space(&self.space).ok()?;
        let most = all(|word| &word.begun);
        let views = [0, 1].map(|n| Arc::new(self.views[n].inherited(&before[n])));
        // The right to write may have been away.
        while mm.mprotect(&child, BASE, LENGTH * PAGE, RW).is_err() {}
        let between = |(done, begun)| Word { begun: AtomicU64::new(begun), done: AtomicU64::new(done) };
        Some(Member::new(child, least.into_iter().zip(most).map(between).collect(), views))
    }
}

/// How vCPUs spend their turns: how many of the sum of all do what.
#[derive(Clone, Copy)]
pub(super) struct Habits {
    /// Use the object, through a mapping or without.
    pub(super) object: u64,
    pub(super) store: u64,
    /// Write to all pages of the third range.
    pub(super) burst: u64,
    pub(super) load: u64,
    /// Map a page of one's own, and unmap it.
    pub(super) scratch: u64,
    /// Take the right to write away for a moment.
    pub(super) protect: u64,
    /// Run the promoter.
    pub(super) promote: u64,
    pub(super) fork: u64,
    /// Leave the space, and end one in which nobody is.
    pub(super) end: u64,
    /// Most spaces at once.
    pub(super) most: usize,
}

/// All spaces, at least one.
pub(super) struct Family {
    habits: Habits,
    members: Mutex<Vec<Arc<Member>>>,
    book: Arc<Book>,
}

impl Family {
    /// One space, with an object of pages of 4 KiB.
    pub(super) fn new(mm: &Mm, habits: Habits) -> Self {
        Family::of(mm, habits, Unit::Page)
    }

    /// One space, with an object of pages of this unit.
    pub(super) fn of(mm: &Mm, habits: Habits, unit: Unit) -> Self {
        let Ok(space) = mm.new_space() else { panic!("no memory for the first space") };
        let request = MmapRequest::anonymous(LENGTH * PAGE, RW).fixed(BASE).with(MapFlags::empty());
        assert_eq!(mm.mmap(&space, &request), Ok(VirtAddr::new(BASE)));
        let words = (0..CPUS * PAGES).map(|_| Word::default()).collect();
        let book = Arc::new(Book::of(mm, unit));
        let base = OBJECT - if unit == Unit::Page { 3 * PAGE } else { 0 };
        let views = [(Kind::Shared, base), (Kind::Private, base + 16 * unit.bytes())].map(|(kind, at)| {
            let view = Arc::new(View::new(&book, kind, at));
            view.change(mm, &space, 0..PAGES_OF_OBJECT, Change::Map(RW));
            view
        });
        Family { habits, members: Mutex::new(vec![Member::new(space, words, views)]), book }
    }

    fn any(&self, random: &mut Random) -> Arc<Member> {
        let members = lock(&self.members);
        members[random.below(members.len() as u64) as usize].clone()
    }

    /// Ends a space that nobody runs, if it is not the last.
    fn end_any(&self, mm: &Mm, random: &mut Random) {
        let gone = {
            let mut members = lock(&self.members);
            let n = random.below(members.len() as u64) as usize;
            let close = |inside: &AtomicUsize| {
                inside.compare_exchange(0, CLOSED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            };
            if members.len() == 1 || !close(&members[n].inside) {
                return;
            }
            members.swap_remove(n)
        };
        mm.destroy_space(&gone.space);
    }

    fn adopt(&self, child: Arc<Member>) {
        lock(&self.members).push(child);
    }

    /// What one vCPU does, `turns` times.
    pub(super) fn live(&self, stage: &Stage<'_>, cpu: usize, turns: u64, random: &mut Random) {
        let mm = stage.mm;
        let (mut at, mut hold): (Option<Arc<Member>>, Option<Hold>) = (None, None);
        for turn in 1..=turns {
            let page = random.below(FEW.len() as u64) as usize;
            let Some(here) = at.clone() else {
                at = Some(self.any(random)).filter(|member| member.enter(stage));
                continue;
            };
            let Habits { object, store, burst, load, scratch, protect, promote, fork, end, most } =
                self.habits;
            let mut pick =
                random.below(object + store + burst + load + scratch + protect + promote + fork + end);
            // Whether the turn is one of the next `share`.
            let mut falls_to = |share: u64| {
                let mine = pick < share;
                pick = if mine { u64::MAX } else { pick - share };
                mine
            };
            if falls_to(object) {
                here.use_object(mm, &mut hold, random);
            } else if falls_to(store) {
                here.store(cpu, page, turn);
            } else if falls_to(burst) {
                (FEW.len()..PAGES).for_each(|page| here.store(cpu, page, turn));
            } else if falls_to(load) {
                here.load(cpu, random.below(CPUS as u64) as usize, page);
            } else if falls_to(scratch) {
                here.scratch(mm, cpu, turn);
            } else if falls_to(protect) {
                here.protect(mm, page);
            } else if falls_to(promote) {
                crate::thp::promoter::drain(mm);
            } else if falls_to(fork) {
                let room = lock(&self.members).len() < most;
                if let Some(child) = room.then(|| here.fork(mm)).flatten() {
                    self.adopt(child);
                }
            } else {
                here.leave(stage);
                at = None;
                self.end_any(mm, random);
            }
        }
        if let Some(hold) = hold {
            hold.let_go(mm, random);
        }
        if let Some(here) = at {
            here.leave(stage);
        }
    }

    /// Looks at every word of every space, and ends them all, in any order.
    pub(super) fn end(self, stage: &Stage<'_>, random: &mut Random) {
        let mut members = std::mem::take(&mut *lock(&self.members));
        for member in &members {
            assert!(member.enter(stage), "nobody ends a space now");
            for (cpu, page) in (0..CPUS).flat_map(|cpu| (0..PAGES).map(move |page| (cpu, page))) {
                member.load(cpu, cpu, page);
            }
            member.views.iter().for_each(|view| view.look_at_all(0));
            member.leave(stage);
        }
        crate::testkit::check(stage.mm);
        while !members.is_empty() {
            let gone = members.swap_remove(random.below(members.len() as u64) as usize);
            stage.mm.destroy_space(&gone.space);
        }
        Book::close(self.book, stage.mm);
        assert_eq!(stage.mm.lineages.count(), 0, "nodes of spaces that have ended");
    }
}
