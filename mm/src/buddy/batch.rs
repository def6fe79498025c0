//! Single pages of anonymous memory whose entries are gone, on their way back to the zone.
//!
//! An entry that was cleared, and flushed, leaves a mapping to be uncounted and a reference to be dropped. Of a page
//! that nobody else has they are all there is: the reference is taken from one to none by one exchange, and from then
//! on nobody can take another ([`PageRef::try_get`]), so nobody can map the page either, as that needs one. The page is
//! the batch's: its other counts are only looked at. Of a page that somebody shares both are counted down.
//!
//! ```text
//!   put_mapped --> references 1 -> 0?  --yes--> [ page | page | ... ] --full, or the end--> the zone, under one lock
//!                        `--no--> mappings - 1, references - 1
//! ```
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, Pfn, PhysMem};

use super::pages::assert_unused;
use crate::Mm;
use crate::mapcount;
use crate::page::{FolioRef, LastRef, PageKind, PageRef, page_of};
use crate::trace::Point;

/// Pages that go back under one lock.
const PAGES: usize = 64;

/// See the [module](self). Pages that are in it when it is dropped are lost: [`Self::finish`].
#[must_use = "what is in the batch is given back by `finish`"]
pub(crate) struct SingleBatch<'m> {
    mm: &'m Mm,
    pages: [PageRef; PAGES],
    len: usize,
}

impl<'m> SingleBatch<'m> {
    /// An empty one.
    pub(crate) fn new(mm: &'m Mm) -> Self {
        SingleBatch { mm, pages: [page_of(Pfn::new(0)); PAGES], len: 0 }
    }

    /// Gives up what an entry had of a single anonymous page: its mapping and its reference. The entry was cleared and
    /// flushed; T of its tree is held.
    ///
    /// # Panics
    /// Somebody has lost count: of a page that nobody else has, there are other mappings, or pins.
    #[inline]
    pub(crate) fn put_mapped(&mut self, page: PageRef) {
        debug_assert!(page.is_single(PageKind::Anon), "{page:?} is no single anonymous page");
        if page.freeze(1) {
            assert_unused(page, 1);
        } else {
            mapcount::remove_one(page);
            if FolioRef::from_raw(page).put() == LastRef::No {
                return;
            }
            assert_unused(page, 0);
        }
        page.make_free(1);
        self.push(page);
    }

    #[inline]
    fn push(&mut self, page: PageRef) {
        if self.len == PAGES {
            self.flush();
        }
        self.pages[self.len] = page;
        self.len += 1;
    }

    fn flush(&mut self) {
        let pages = &self.pages[..self.len];
        pages.iter().for_each(|page| Machine::released(page.pfn().phys(), PAGE_SIZE));
        self.mm.stats.note(Point::Free, pages.len() as u64, || {
            [pages.first().map_or(0, |page| page.pfn().raw()), 0, 0, 0]
        });
        self.mm.zone.free_many(pages);
        self.len = 0;
    }

    /// Gives all back.
    pub(crate) fn finish(mut self) {
        self.flush();
    }
}
