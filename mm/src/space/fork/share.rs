//! What the child gets of the parent's entries: the same leaf without the right to write, a reference, a mapping.
//!
//! | the parent's entry | the child's |
//! |---|---|
//! | maps a single page of anonymous memory | shared; each page has counts of its own; a folded group of 16 goes as one |
//! | maps a page of a folio | shared, with all that go on in the folio; one reference and one mapping count a run |
//! | maps a page that is pinned | none; the child gets a copy later ([`super::copy`]) |
//! | is special, or a migration entry | the same, not counted |
//!
//! Entries of pages are noted in a table that nobody can reach, and counted as if they stood in it; the table is linked
//! when all is noted. A run that cannot be counted is not noted any more, and the parent's entries get their
//! permission back on the next write.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::contiguous::CONT_ENTRIES;
use arch::pte::PteFlags;
use arch::{Desc, Level, VirtAddr};

use super::ForkError;
use super::copy::Lacks;
use crate::Mm;
use crate::mapcount::{self, Run};
use crate::page::{PageKind, PageRef};
use crate::pgtable::{Entry, LooseEntries, LooseTable, Tightening, normal_page};
use crate::space::{AddressSpace, Vma, range};
use crate::stats::Counter;

/// Whether what this VMA maps is not shared here. The pages of an object the child's faults find in the object; private
/// copies of them are [`super::object`]'s to share.
pub(super) fn is_left_out(vma: &Vma) -> bool {
    vma.kind.object().is_some()
}

/// Whether the folio is a space's own. A device's page is shared by all that map it, pinned or not.
pub(super) fn is_private(head: &PageRef) -> bool {
    matches!(head.kind(), PageKind::Anon | PageKind::Hugetlb)
}

/// The attribute bit that entries of this VMA are to have in parent and child, if any.
pub(super) fn mark(vma: &Vma) -> PteFlags {
    if vma.kind.is_shared() { PteFlags::empty() } else { PteFlags::READ_ONLY }
}

/// The child's side of one entry: its reference, its mapping, the entry.
///
/// # Errors
/// [`ForkError::TooManyMappings`].
pub(super) fn give(
    mm: &Mm,
    child: &AddressSpace,
    vma: &Vma,
    entry: Entry<'_>,
    shared: Desc,
) -> Result<(), ForkError> {
    if let Some(page) = normal_page(shared, entry.level()) {
        let head = page.head(mm.config.tails);
        let run = Run { head, ..range::run_of(child, vma, &entry, page) };
        add_entries(mm, &run)?;
        if head.kind() == PageKind::Anon {
            child.add_anon(mm, run.pages());
            mm.stats.add(Counter::NrAnonThp, u64::from(run.level == Level::L2));
        }
    }
    entry.make(shared);
    Ok(())
}

/// A reference and a mapping for each entry of the run, which is about to be made.
#[inline]
fn add_entries(mm: &Mm, run: &Run) -> Result<(), ForkError> {
    let may_add = mapcount::may_add(mm, run).is_ok();
    if !may_add || !run.head.try_get_many(run.entries) {
        return Err(ForkError::TooManyMappings(run.head.pfn()));
    }
    mapcount::add(mm, run);
    Ok(())
}

/// Takes note of the parent's entries for the child, in a table of its own, and counts them.
pub(super) struct Sharer<'s> {
    mm: &'s Mm,
    child: &'s AddressSpace,
    copy: LooseEntries<'s>,
    /// Entries that are noted.
    noted: usize,
    /// Pages of anonymous memory among what they map.
    anon: u64,
    result: Result<Lacks, ForkError>,
}

/// Entries of one VMA.
struct Part<'p, 't, 'l> {
    entries: &'p mut Tightening<'t, 'l>,
    vma: &'p Vma,
    /// The address that entry 0 of the table translates, whether it is the VMA's or not.
    base: VirtAddr,
    mark: PteFlags,
}

impl<'s> Sharer<'s> {
    pub(super) fn new(mm: &'s Mm, child: &'s AddressSpace, copy: &'s mut LooseTable) -> Self {
        let copy = copy.entries();
        Sharer { mm, child, copy, noted: 0, anon: 0, result: Ok(Lacks::Nothing) }
    }

    /// Shares what the parent's entries map, as far as it can be counted. The first of them is for `va`.
    pub(super) fn share(&mut self, vma: &Vma, va: VirtAddr, entries: &mut Tightening<'_, '_>) {
        let range = entries.range();
        let base = VirtAddr::new(va.raw() - range.start as u64 * PAGE_SIZE);
        let mut part = Part { entries, vma, base, mark: mark(vma) };
        let mut n = part.entries.next_used(range.start);
        while n < range.end && self.result.is_ok() {
            let leaf = part.entries.desc(n);
            n = match normal_page(leaf, Level::L3) {
                Some(page) if page.is_single(PageKind::Anon) => self.share_singles(&mut part, n),
                Some(page) => self.share_folio(&mut part, n, page),
                None if leaf.is_empty() => n + 1,
                None => {
                    part.entries.share(n, leaf, part.mark, &mut self.copy);
                    self.noted += 1;
                    n + 1
                }
            };
            n = part.entries.next_used(n);
        }
    }

    /// Shares the single pages that the entries from `first` on map. Returns the number of the next entry. A function
    /// of its own: its loop has need of all registers.
    #[inline(never)]
    fn share_singles(&mut self, part: &mut Part<'_, '_, '_>, first: usize) -> usize {
        let (mut n, end) = (first, part.entries.range().end);
        while n < end {
            let leaf = part.entries.desc(n);
            let page = normal_page(leaf, Level::L3).filter(|page| page.is_single(PageKind::Anon));
            let Some(page) = page else { break };
            if leaf.is_contiguous() {
                n += self.share_group(part, n, page);
                continue;
            }
            if page.maybe_pinned() {
                self.result = Ok(Lacks::Pinned);
                break;
            }
            if !page.try_get_many(1) {
                self.result = Err(ForkError::TooManyMappings(page.pfn()));
                break;
            }
            mapcount::add_one(page);
            part.entries.share(n, leaf, part.mark, &mut self.copy);
            n += 1;
        }
        self.noted += n - first;
        self.anon += (n - first) as u64;
        // What stopped the row is left out, where it is the first.
        if n == first { n + 1 } else { n }
    }

    /// Shares the folded group of single pages that begins with entry `first`, which maps `page`, and returns how many
    /// of the 16: all, as a group, or those before one that may not be shared, or not be counted. Then the group is
    /// unfolded, so that each entry can be looked at by itself.
    #[inline(never)]
    fn share_group(&mut self, part: &mut Part<'_, '_, '_>, first: usize, page: PageRef) -> usize {
        let may_not = |page: PageRef| page.maybe_pinned() || !page.try_get_many(1);
        let shared = (0..CONT_ENTRIES).position(|n| may_not(page.nth(n as u64))).unwrap_or(CONT_ENTRIES);
        (0..shared).for_each(|n| mapcount::add_one(page.nth(n as u64)));
        if shared == CONT_ENTRIES {
            return part.entries.share_alike(first, CONT_ENTRIES, part.mark, &mut self.copy);
        }
        part.entries.unfold(first);
        for n in first..first + shared {
            let leaf = part.entries.desc(n);
            part.entries.share(n, leaf, part.mark, &mut self.copy);
        }
        shared
    }

    /// Shares what entry `first` maps, `page` of a folio, and all that go on in it. Returns the number of the next
    /// entry.
    #[inline(never)]
    fn share_folio(&mut self, part: &mut Part<'_, '_, '_>, first: usize, page: PageRef) -> usize {
        let head = page.head(self.mm.config.tails);
        let left = head.nth(head.order().pages()).pfn().offset_from(page.pfn());
        if is_private(&head) && head.maybe_pinned() {
            self.result = Ok(Lacks::Pinned);
            // All of a hugetlb page is copied or shared: it may be unpinned before its next entry is looked at.
            return first + if head.kind() == PageKind::Hugetlb { left as usize } else { 1 };
        }
        let entries = part.entries.share_alike(first, left as usize, part.mark, &mut self.copy);
        let run = Run {
            head,
            first: page,
            entries: entries as u32,
            level: Level::L3,
            table: self.copy.table(),
            top: self.copy.table(),
            va: part.base.add(first as u64 * PAGE_SIZE),
            space: self.child.id,
            owner: self.child.owner,
            vma: (part.vma.start, part.vma.end),
        };
        match add_entries(self.mm, &run) {
            Ok(()) => {
                self.noted += entries;
                self.anon += if head.kind() == PageKind::Anon { run.pages() } else { 0 };
            }
            Err(error) => {
                (first..first + entries).for_each(|n| self.copy.write(n, Desc::INVALID));
                self.result = Err(error);
            }
        }
        first + entries
    }

    /// How many entries are noted, and whether that is all that could be.
    pub(super) fn finish(self) -> (usize, Result<Lacks, ForkError>) {
        self.child.add_anon(self.mm, self.anon);
        (self.noted, self.result)
    }
}
