//! An object that spaces map, and what must be read in it: its size, and a word of each vCPU in each page.
//!
//! | call | what it takes away | who may be under way meanwhile |
//! |---|---|---|
//! | ftruncate | every word from the lower of the two ends on; private copies of pages wholly beyond the new one | no other |
//! | a hole | the words of its pages; no private copy | any |
//! | a write by a descriptor | nothing: it is within the size | no ftruncate |
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::stage::{CPUS, pick};
use super::words::{Clock, Place, Stamp, Unit, Whose, Wipes, Word};
use crate::Mm;
use crate::kalloc::KArc;
use crate::shmem::{Object, ObjectUse};
use crate::stats::Counter;
use crate::testkit::Random;
use crate::testkit::host_env::lock;

/// Pages that the object has at most.
pub(super) const PAGES: usize = 6;

/// The size, and the size to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size {
    bytes: u64,
    next: Option<u64>,
    changes: u64,
    unit: Unit,
}

impl Size {
    /// Whether an access of the page between two moments must be within the object, must be beyond it, or may be
    /// either.
    pub(super) fn has(self, page: usize, after: Size) -> Option<bool> {
        let within = |bytes: u64| (page as u64) < bytes.div_ceil(self.unit.bytes());
        let all =
            [self.bytes, after.bytes, self.next.unwrap_or(self.bytes), after.next.unwrap_or(after.bytes)];
        let known =
            after.changes - self.changes <= 1 && all.iter().all(|&bytes| within(bytes) == within(all[0]));
        known.then(|| within(all[0]))
    }
}

/// One page.
#[derive(Clone, Copy)]
struct Page {
    words: [Word; CPUS],
    /// By vCPU: what takes its word away.
    zeroed: [Wipes; CPUS],
    /// What takes the page itself away.
    taken: Wipes,
    /// What takes private copies of it away too.
    cut: Wipes,
}

/// What is known.
struct State {
    size: Size,
    pages: [Page; PAGES],
}

/// The object.
pub(super) struct Book {
    object: KArc<Object>,
    share: ObjectUse,
    pub(super) clock: Clock,
    state: Mutex<State>,
    unit: Unit,
}

/// A load that has begun.
pub(super) struct Loading {
    place: Place,
    word: Word,
    stamp: Stamp,
}

/// A store that has begun.
pub(super) struct Storing {
    place: Place,
    pub(super) number: u64,
    earlier: u64,
    stamp: Stamp,
}

impl Book {
    /// An object of all its pages, of 4 KiB.
    pub(super) fn new(mm: &Mm) -> Self {
        Book::of(mm, Unit::Page)
    }
    /// The same, of pages of this unit.
    pub(super) fn of(mm: &Mm, unit: Unit) -> Self {
        let share = match unit.huge() {
            Some(size) => mm.new_huge_object(size, PAGES as u64 * unit.bytes()),
            None => mm.new_object(PAGES as u64 * unit.bytes()),
        };
        let share = share.unwrap_or_else(|error| panic!("no object: {error}"));
        let page = Page {
            words: [Word::ZERO; CPUS],
            zeroed: [Wipes::NONE; CPUS],
            taken: Wipes::NONE,
            cut: Wipes::NONE,
        };
        let size = Size { bytes: PAGES as u64 * unit.bytes(), next: None, changes: 0, unit };
        let state = Mutex::new(State { size, pages: [page; PAGES] });
        Book { object: (*share).clone(), share, clock: Clock::default(), state, unit }
    }
    /// The object.
    pub(super) fn object(&self) -> &KArc<Object> {
        &self.object
    }
    /// Of which pages it is made.
    pub(super) fn unit(&self) -> Unit {
        self.unit
    }
    /// Its size now.
    pub(super) fn size(&self) -> Size {
        lock(&self.state).size
    }
    /// How far the calls have come that take private copies of a page away.
    pub(super) fn cut(&self, page: usize, cpu: usize) -> Stamp {
        lock(&self.state).pages[page].cut.stamp(cpu)
    }
    /// How far the calls have come that take the page away.
    pub(super) fn taken(&self, page: usize) -> Stamp {
        lock(&self.state).pages[page].taken.stamp(0)
    }

    /// A load begins.
    pub(super) fn begin_load(&self, place: Place) -> Loading {
        let page = lock(&self.state).pages[place.page];
        Loading { place, word: page.words[place.cpu], stamp: page.zeroed[place.cpu].stamp(place.cpu) }
    }
    /// It has given `word` to vCPU `reader`.
    ///
    /// # Panics
    /// That cannot stand there.
    pub(super) fn end_load(&self, loading: &Loading, word: u64, reader: usize) {
        let (place, number) = (loading.place, loading.place.number(word));
        let mut state = lock(&self.state);
        let page = &mut state.pages[place.page];
        let after = page.zeroed[place.cpu].stamp(place.cpu);
        let now = &mut page.words[place.cpu];
        assert!(
            loading.word.allows(number, now, (loading.stamp, after), self.clock.last(place.cpu)),
            "vCPU {reader} read {number} in {place:?} of the object, where {:?} {:?} became {now:?} {after:?}",
            loading.word,
            loading.stamp,
        );
        if reader == place.cpu {
            now.learn(number, loading.stamp, after);
        }
    }
    /// vCPU `place.cpu` begins to store its next number.
    pub(super) fn begin_store(&self, place: Place) -> Storing {
        let number = self.clock.begin(place.cpu);
        let page = &mut lock(&self.state).pages[place.page];
        let stamp = page.zeroed[place.cpu].stamp(place.cpu);
        Storing { place, number, earlier: page.words[place.cpu].begin(number), stamp }
    }
    /// It is stored.
    pub(super) fn end_store(&self, storing: &Storing, stored: Stored) {
        let Storing { place, number, earlier, stamp } = *storing;
        self.clock.end(place.cpu, number);
        let page = &mut lock(&self.state).pages[place.page];
        let after = page.zeroed[place.cpu].stamp(place.cpu);
        match stored {
            Stored::Yes => page.words[place.cpu].end(number, stamp, after),
            Stored::Perhaps => {}
            Stored::No => page.words[place.cpu].refused(earlier),
        }
    }

    /// Gives the object another size, at times one in the middle of a page or of the words; that of a hugetlb one is
    /// whole pages.
    pub(super) fn resize_any(&self, mm: &Mm, random: &mut Random) {
        let pages = if random.below(2) == 0 { PAGES as u64 } else { random.below(PAGES as u64 + 1) };
        let rests: &[u64] = if self.unit == Unit::Page { &[0, 0, 16, 72, 2048] } else { &[0] };
        let unit = self.unit.bytes();
        let bytes = (pages * unit + pick(random, rests)).min(PAGES as u64 * unit);
        let Some(old) = self.claim_size(bytes) else { return };
        let (end, dead) = (old.min(bytes), self.clock.ended());
        let gone = (bytes.div_ceil(unit) as usize).min(PAGES);
        let takes = |n: usize| if n >= gone { Takes::Copies } else { Takes::Words };
        self.wipes(|n, page| begin(page, &self.beyond(n, end), takes(n)));
        let outcome = mm.truncate_object(&self.object, bytes);
        assert!(outcome.is_ok(), "{outcome:?}");
        self.wipes(|n, page| finish(page, &self.beyond(n, end), takes(n), Some(&dead)));
        self.settle_size();
    }

    /// Takes pages out, by `punch`, which says whether it did.
    pub(super) fn punch(&self, pages: Range<usize>, punch: impl FnOnce() -> bool) {
        let dead = self.clock.ended();
        let part = |n: usize| if pages.contains(&n) { (0..CPUS, Takes::Page) } else { (0..0, Takes::Words) };
        self.wipes(|n, page| begin(page, &part(n).0, part(n).1));
        let dead = punch().then_some(dead);
        self.wipes(|n, page| finish(page, &part(n).0, part(n).1, dead.as_ref()));
    }

    /// Reads or writes a word by a descriptor.
    pub(super) fn by_descriptor(&self, mm: &Mm, cpu: usize, random: &mut Random) {
        let (page, whose) = (random.below(PAGES as u64) as usize, random.below(CPUS as u64) as usize);
        // A hugetlb object is not written so.
        if random.below(2) == 0 || self.unit != Unit::Page {
            return self.read(mm, cpu, Place { page, cpu: whose, whose: Whose::Object });
        }
        let place = Place { page, cpu, whose: Whose::Object };
        let size = self.size().bytes;
        if place.in_object(self.unit) + 8 > size || self.claim_size(size).is_none() {
            return;
        }
        let storing = self.begin_store(place);
        let outcome = mm.write_object(
            &self.object,
            place.in_object(self.unit),
            &place.word(storing.number).to_le_bytes(),
        );
        self.end_store(&storing, if outcome.is_ok() { Stored::Yes } else { Stored::Perhaps });
        self.settle_size();
    }

    /// vCPU `reader` reads a word by a descriptor, and beside it the one that private mappings have there.
    fn read(&self, mm: &Mm, reader: usize, place: Place) {
        let (mut word, size) = ([0; 8], self.size());
        let loading = self.begin_load(place);
        let many = mm.read_object(&self.object, place.in_object(self.unit), &mut word);
        let after = self.size();
        if size == after && size.next.is_none() {
            let left = size.bytes.saturating_sub(place.in_object(self.unit));
            assert_eq!(
                many,
                Ok(left.min(8) as usize),
                "bytes of {place:?} in an object of {} bytes",
                size.bytes
            );
        }
        if many == Ok(word.len()) {
            self.end_load(&loading, u64::from_le_bytes(word), reader);
        }
        let copy = Place { whose: Whose::Copy, ..place };
        if mm.read_object(&self.object, copy.in_object(self.unit), &mut word) == Ok(word.len()) {
            assert_eq!(
                u64::from_le_bytes(word),
                0,
                "the object has what was written to a private copy: {copy:?}"
            );
        }
    }

    /// When nobody maps it, or has a page of it pinned, any more: looks at all its words, and gives it up.
    pub(super) fn close(this: Arc<Self>, mm: &Mm) {
        match Arc::into_inner(this) {
            Some(book) => book.end(mm),
            None => panic!("somebody has an object yet that nobody maps"),
        }
        let pins = [Counter::FollPinAcquired, Counter::FollPinReleased].map(|counter| mm.stats.get(counter));
        assert_eq!(pins[0], pins[1], "pages are pinned yet");
    }
    fn end(self, mm: &Mm) {
        for (page, cpu) in (0..PAGES).flat_map(|page| (0..CPUS).map(move |cpu| (page, cpu))) {
            self.read(mm, cpu, Place { page, cpu, whose: Whose::Object });
        }
        assert_eq!(self.object.spaces(), 0, "spaces map the object after their end");
        mm.close_object(self.share);
        assert!(mm.objects.is_empty(), "the object has not ended");
    }

    /// The vCPUs whose words of page `n` lie at `end` or beyond.
    fn beyond(&self, n: usize, end: u64) -> Range<usize> {
        let whose = Whose::Object;
        let first = (0..CPUS).find(|&cpu| Place { page: n, cpu, whose }.in_object(self.unit) >= end);
        first.unwrap_or(CPUS)..CPUS
    }

    fn wipes(&self, each: impl Fn(usize, &mut Page)) {
        lock(&self.state).pages.iter_mut().enumerate().for_each(|(n, page)| each(n, page));
    }

    /// The size is about to be `bytes`; what it was. `None`: somebody else changes it.
    fn claim_size(&self, bytes: u64) -> Option<u64> {
        let size = &mut lock(&self.state).size;
        if size.next.is_some() {
            return None;
        }
        (size.next, size.changes) = (Some(bytes), size.changes + 1);
        Some(size.bytes)
    }
    fn settle_size(&self) {
        let size = &mut lock(&self.state).size;
        size.bytes = size.next.take().unwrap_or(size.bytes);
    }
}

/// Whether a store took place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    /// To where the next load finds it.
    Yes,
    /// To where a load may find it.
    Perhaps,
    /// It faulted.
    No,
}

/// What a call takes away beside words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Takes {
    Words,
    Page,
    /// And all private copies of it.
    Copies,
}

fn begin(page: &mut Page, words: &Range<usize>, takes: Takes) {
    page.zeroed[words.clone()].iter_mut().for_each(Wipes::begin);
    if takes != Takes::Words {
        page.taken.begin();
    }
    if takes == Takes::Copies {
        page.cut.begin();
    }
}

fn finish(page: &mut Page, words: &Range<usize>, takes: Takes, dead: Option<&[u64; CPUS]>) {
    page.zeroed[words.clone()].iter_mut().for_each(|wipes| wipes.end(dead));
    if takes != Takes::Words {
        page.taken.end(dead);
    }
    if takes == Takes::Copies {
        page.cut.end(dead);
    }
}
