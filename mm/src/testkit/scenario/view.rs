//! An area of a space that maps an object, shared or private, and what must be read in it.
//!
//! | mapping | the object's words | the words of private copies |
//! |---|---|---|
//! | shared | what [`Book`] says | 0 |
//! | private, no copy of the page since the last wipe | what [`Book`] says | 0, by the rule of the next line |
//! | private, a copy | what they were when it was made, the same at each load | what was stored here, or by those whose child this is, before the fork |
//!
//! Of hugetlb a load makes a copy, too, of a page that the object lacks.
//!
//! A copy is wiped by munmap, mmap, MADV_DONTNEED, and a truncation below its page; not by a hole.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::{Arc, Mutex};

use arch::{Access, Pfn, VirtAddr};

use super::area::{Area, Change, Changed, Kind};
use super::memory::By;
use super::object::{Book, PAGES, Stored};
use super::stage::CPUS;
use super::words::{Place, Stamp, Unit, Whose, Wipes, Word};
use crate::Mm;
use crate::kalloc::KArc;
use crate::space::AddressSpace;
use crate::testkit::host_env::lock;

/// What is known of one page of a private mapping.
#[derive(Clone, Copy)]
struct Page {
    /// Wipes by the space's own calls; truncations are the object's.
    own: Wipes,
    words: [Word; CPUS],
    /// Calls under way that may make a copy.
    touching: u32,
    /// Wipes that had begun when one of them was last seen.
    touched: Option<u64>,
    /// Wipes that had begun, and ended, when there was a copy for sure.
    copied: Option<u64>,
    /// By vCPU: the object's word in the copy, and the wipes by then.
    frozen: [Option<(u64, u64)>; CPUS],
}

const UNTOUCHED: Page = Page {
    own: Wipes::NONE,
    words: [Word::ZERO; CPUS],
    touching: 0,
    touched: None,
    copied: None,
    frozen: [None; CPUS],
};

/// A page and its wipes at one moment.
#[derive(Clone, Copy)]
struct Moment {
    page: Page,
    /// By vCPU.
    stamps: [Stamp; CPUS],
}

impl Moment {
    fn stamp(&self) -> Stamp {
        self.stamps[0]
    }
    /// There is no copy.
    fn is_clean(&self) -> bool {
        let begun = self.stamp().begun;
        self.page.touching == 0
            && self.stamp().is_quiet()
            && self.page.touched.is_none_or(|touched| touched < begun)
    }
}

/// What a call that wipes leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copies {
    None,
    /// It faults pages in, too.
    Perhaps,
}

/// What a parent's view was when the fork began.
pub(super) struct Before([Moment; PAGES]);

/// The area.
pub(super) struct View {
    pub(super) book: Arc<Book>,
    area: Area,
    pages: Mutex<[Page; PAGES]>,
}

impl View {
    /// All of the object from `base` on; nothing is mapped. `kind` is shared or private.
    pub(super) fn new(book: &Arc<Book>, kind: Kind, base: u64) -> Self {
        let area = Area::new(kind, base, PAGES).of_object(book.object());
        View { book: book.clone(), area, pages: Mutex::new([UNTOUCHED; PAGES]) }
    }
    /// Whether writes go to copies.
    pub(super) fn is_private(&self) -> bool {
        self.area.kind() == Kind::Private
    }
    /// Where a page begins.
    pub(super) fn va(&self, page: usize) -> VirtAddr {
        self.area.va(page)
    }
    /// The frame that a page is mapped to now.
    pub(super) fn frame(&self, space: &AddressSpace, page: usize) -> Option<Pfn> {
        let leaf = space.ptl.lock().walk(self.va(page)).leaf()?;
        Some(leaf.desc.output(leaf.level).pfn())
    }

    fn moment(&self, page: usize) -> Moment {
        let this = lock(&self.pages)[page];
        Moment {
            page: this,
            stamps: std::array::from_fn(|cpu| this.own.stamp(cpu).and(self.book.cut(page, cpu))),
        }
    }
    /// How far the wipes have come that take away the page that is mapped, for all spaces or for this one.
    pub(super) fn taken(&self, page: usize) -> Stamp {
        if self.is_private() { self.moment(page).stamp() } else { self.book.taken(page) }
    }

    /// Changes pages, with what is known of them.
    pub(super) fn change(
        &self,
        mm: &Mm,
        space: &KArc<AddressSpace>,
        pages: Range<usize>,
        change: Change,
    ) -> Changed {
        let wipes = self.is_private() && !matches!(change, Change::Protect(_) | Change::Move);
        if !wipes {
            return self.area.change(mm, space, pages, change);
        }
        let dead = self.begin_wipe(&pages);
        let after = if matches!(change, Change::Populate(_)) { Copies::Perhaps } else { Copies::None };
        let changed = self.area.change(mm, space, pages.clone(), change);
        self.end_wipe(&pages, (changed == Changed::Yes).then_some(&dead), after);
        changed
    }
    /// Notes that the space has ended while nobody was in it.
    pub(super) fn forget(&self) {
        let dead = self.begin_wipe(&(0..PAGES));
        self.area.forget();
        self.end_wipe(&(0..PAGES), Some(&dead), Copies::None);
    }
    fn begin_wipe(&self, pages: &Range<usize>) -> [u64; CPUS] {
        lock(&self.pages)[pages.clone()].iter_mut().for_each(|page| page.own.begin());
        self.book.clock.ended()
    }
    fn end_wipe(&self, pages: &Range<usize>, dead: Option<&[u64; CPUS]>, after: Copies) {
        for page in pages.clone() {
            // A copy that was there is there yet where nothing was done.
            let stays = {
                let page = &mut lock(&self.pages)[page];
                page.own.end(dead);
                dead.is_none() && page.touched.is_some()
            };
            if stays || after == Copies::Perhaps {
                self.touch(page, 0);
            }
        }
    }
    /// A call that may make a copy begins (1), or has ended (-1).
    fn touch(&self, page: usize, by: i32) {
        let begun = self.moment(page).stamp().begun;
        let page = &mut lock(&self.pages)[page];
        page.touching = page.touching.saturating_add_signed(by);
        page.touched = Some(begun);
    }

    /// Makes an access, and holds whether it succeeded against the law and the size.
    pub(super) fn access<R>(
        &self,
        page: usize,
        access: Access,
        perform: impl FnOnce() -> Option<R>,
    ) -> Option<R> {
        let (law, size) = (self.area.law(page), self.book.size());
        let outcome = perform();
        let (later, after) = (self.area.law(page), self.book.size());
        let allowed = (law == later && !law.is_changing()).then(|| law.allows(access));
        let within = size.has(page, after);
        let right = match (allowed, within) {
            (Some(false), _) | (_, Some(false)) => outcome.is_none(),
            (Some(true), Some(true)) => outcome.is_some(),
            _ => true,
        };
        assert!(
            right,
            "a {access:?} of page {page} of {} {}: {law:?}, {size:?} to {after:?}",
            self.area,
            if outcome.is_some() { "succeeded" } else { "failed" },
        );
        outcome
    }

    /// vCPU `reader` loads a word.
    pub(super) fn load(&self, reader: usize, place: Place, by: By<'_>) {
        let unit = self.book.unit();
        let load = || self.access(place.page, Access::Read, || by.load(place.va(self.va(0), unit)));
        // Of hugetlb a page that the object lacks is a private mapping's own at once.
        if self.is_private() && unit != Unit::Page {
            self.touching(place.page, || self.judge(reader, place, load), |()| false);
        } else {
            self.judge(reader, place, load);
        }
    }
    /// vCPU `reader` gets a word by `load`: from what the space maps, or from a frame that it maps for sure.
    pub(super) fn judge(&self, reader: usize, place: Place, load: impl FnOnce() -> Option<u64>) {
        let (before, loading) = (self.moment(place.page), self.book.begin_load(place));
        let Some(word) = load() else { return };
        let after = self.moment(place.page);
        match (self.is_private(), place.whose) {
            (false, Whose::Object) => self.book.end_load(&loading, word, reader),
            (false, _) => assert_eq!(word, 0, "{place:?} of a private copy is read in {}", self.area),
            (true, Whose::Object) => {
                let same = before.stamp().begun == after.stamp().begun;
                if same && before.is_clean() && after.is_clean() {
                    self.book.end_load(&loading, word, reader);
                } else {
                    self.judge_frozen(place, word, &before, &after);
                }
            }
            (true, _) => self.judge_copy(reader, place, word, (&before, &after)),
        }
    }
    fn judge_frozen(&self, place: Place, word: u64, before: &Moment, after: &Moment) {
        let number = place.number(word);
        assert!(number <= self.book.clock.last(place.cpu), "{number} in {place:?} of {}", self.area);
        let at = before.stamp().begun;
        if before.page.copied != Some(at) || !before.stamp().is_quiet_until(after.stamp()) {
            return;
        }
        let frozen = &mut lock(&self.pages)[place.page].frozen[place.cpu];
        if let Some((earlier, of)) = *frozen
            && of == at
        {
            assert_eq!(
                number, earlier,
                "the object's word at {place:?} changes in a private copy in {}",
                self.area
            );
        }
        *frozen = Some((number, at));
    }
    fn judge_copy(&self, reader: usize, place: Place, word: u64, (before, after): (&Moment, &Moment)) {
        let (number, cpu) = (place.number(word), place.cpu);
        let stamps = (before.stamps[cpu], after.stamps[cpu]);
        let (then, last) = (before.page.words[cpu], self.book.clock.last(cpu));
        assert!(
            then.allows(number, &after.page.words[cpu], stamps, last),
            "vCPU {reader} read {number} in {place:?} of {}, where {then:?} became {:?} at {stamps:?}",
            self.area,
            after.page.words[cpu],
        );
        if reader == cpu {
            lock(&self.pages)[place.page].words[cpu].learn(number, stamps.0, stamps.1);
        }
    }

    /// vCPU `cpu` stores to its word of a page.
    pub(super) fn store(&self, cpu: usize, page: usize, by: By<'_>) {
        let (base, unit) = (self.va(0), self.book.unit());
        self.put(cpu, page, |place, number| {
            let word = place.word(number);
            match self.access(page, Access::Write, || by.store(place.va(base, unit), word)) {
                Some(_) => Stored::Yes,
                None => Stored::No,
            }
        });
    }
    /// vCPU `cpu` stores a number to its word by `store`.
    pub(super) fn put(&self, cpu: usize, page: usize, store: impl FnOnce(Place, u64) -> Stored) {
        if !self.is_private() {
            let place = Place { page, cpu, whose: Whose::Object };
            let storing = self.book.begin_store(place);
            let stored = store(place, storing.number);
            return self.book.end_store(&storing, stored);
        }
        let number = self.book.clock.begin(cpu);
        let (before, earlier) = (self.moment(page), lock(&self.pages)[page].words[cpu].begin(number));
        let stored = self.touching(
            page,
            || store(Place { page, cpu, whose: Whose::Copy }, number),
            |stored| *stored == Stored::Yes,
        );
        self.book.clock.end(cpu, number);
        let stamp = self.moment(page).stamps[cpu];
        let word = &mut lock(&self.pages)[page].words[cpu];
        match stored {
            Stored::Yes => word.end(number, before.stamps[cpu], stamp),
            Stored::Perhaps => {}
            Stored::No => word.refused(earlier),
        }
    }
    /// Does what may make a copy of a private page, or has made one where `made` says so.
    pub(super) fn touching<R>(
        &self,
        page: usize,
        call: impl FnOnce() -> R,
        made: impl FnOnce(&R) -> bool,
    ) -> R {
        self.touch(page, 1);
        let before = self.moment(page).stamp();
        let result = call();
        self.touch(page, -1);
        let after = self.moment(page).stamp();
        if made(&result) && before.is_quiet_until(after) {
            lock(&self.pages)[page].copied = Some(after.begun);
        }
        result
    }

    /// Looks at all words.
    pub(super) fn look_at_all(&self, reader: usize) {
        for n in 0..PAGES * CPUS * 2 {
            let whose = if n % 2 == 0 { Whose::Object } else { Whose::Copy };
            self.load(reader, Place { page: n / 2 / CPUS, cpu: n / 2 % CPUS, whose }, By::User);
        }
    }

    /// Its space is about to fork.
    pub(super) fn before_fork(&self) -> Before {
        Before(std::array::from_fn(|page| self.moment(page)))
    }
    /// The child's, whose space has been made.
    pub(super) fn inherited(&self, before: &Before) -> View {
        let pages = std::array::from_fn(|n| self.inherited_page(n, &before.0[n]));
        View { book: self.book.clone(), area: self.area.inherited(), pages: Mutex::new(pages) }
    }
    fn inherited_page(&self, n: usize, before: &Moment) -> Page {
        let (after, own) = (self.moment(n), before.page.own.inherited());
        let child = |cpu: usize| own.stamp(cpu).and(self.book.cut(n, cpu));
        let (at, now) = (after.stamp().begun, child(0).begun);
        let word = |cpu: usize| {
            let (stamps, last) = ((before.stamps[cpu], after.stamps[cpu]), self.book.clock.last(cpu));
            before.page.words[cpu].inherited(&after.page.words[cpu], stamps, child(cpu), last)
        };
        let clean = before.is_clean() && after.is_clean() && before.stamp().begun == at;
        Page {
            own,
            words: std::array::from_fn(word),
            touching: 0,
            touched: (!clean).then_some(now),
            copied: before.page.copied.filter(|&copied| copied == at).map(|_| now),
            frozen: before
                .page
                .frozen
                .map(|frozen| frozen.filter(|&(_, of)| of == at).map(|(it, _)| (it, now))),
        }
    }
}
