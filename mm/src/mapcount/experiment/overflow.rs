//! How many mappings of one folio fit before a count would overflow.
//!
//! Leaf entries are full at 2^31 ([`crate::mapcount::LIMIT`]): at 2^22 VMAs that map 2 MiB by 512 pages each, and at
//! 8192 mappings of 1 GiB by pages. Nobody makes so many here. One mapping is made, every count that it left is
//! multiplied, and one more is tried as any other is: begun from a high count, and never by wrapping one. What was
//! multiplied is put back.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Level, Order, VirtAddr};

use super::Row;
use crate::Mm;
use crate::config::Mapcount;
use crate::error::OutOfMemory;
use crate::mapcount::lab::{Clear, Lab, LabFolio};
use crate::page::{PageKind, PageRef};

const START: VirtAddr = VirtAddr::new(1 << 30);
/// VMAs of 512 page entries at which leaf entries overflow.
const VMAS: u64 = 1 << 22;

/// Says how many of 2^22 VMAs that map 2 MiB by pages a scheme lets be: all, or those before the first that is refused.
///
/// # Errors
/// [`OutOfMemory`].
pub fn overflow(mm: &Mm, scheme: Mapcount, say: &mut dyn FnMut(&Row)) -> Result<(), OutOfMemory> {
    let mut lab = Lab::new(mm, scheme, (START, START.add(Level::L1.entry_bytes())));
    let result = of_2m(&mut lab);
    lab.end();
    let what = "fits_of_4194304_vmas_of_512_pages";
    result.map(|value| say(&Row { what, scheme, part: "", value, unit: "VMAs" }))
}

fn of_2m(lab: &mut Lab<'_>) -> Result<u64, OutOfMemory> {
    let folio = LabFolio::alloc(lab.mm, Order::PMD, PageKind::Kernel)?;
    let folio = lab.put_folio(folio).ok_or(OutOfMemory)?;
    let s = lab.bear()?.ok_or(OutOfMemory)?;
    lab.map(s, START, folio, 0, Order::PMD.pages())?;
    fits(lab, START, folio, VMAS)
}

/// How many of `most` mappings by pages of a folio fit, which is mapped so once: all, or those before the first that is
/// refused. Only the last two are tried: the counts begin where all before them would have brought them. At `va`
/// another space has room for the folio.
pub(super) fn fits(lab: &mut Lab<'_>, va: VirtAddr, folio: usize, most: u64) -> Result<u64, OutOfMemory> {
    let head = lab.folios[folio].as_ref().map(|folio| folio.head).ok_or(OutOfMemory)?;
    let pages = head.order().pages();
    let other = lab.bear()?.ok_or(OutOfMemory)?;
    let mut fit = Ok(most);
    for others in [most - 2, most - 1] {
        let counts = Counts::multiply(lab.scheme, head, others);
        let made = lab.map(other, va, folio, 0, pages);
        lab.clear(other, va, va.add(pages * PAGE_SIZE), Clear::Remove);
        counts.restore();
        if made != Ok(pages) {
            fit = made.map(|_| others);
            break;
        }
    }
    lab.exit(other);
    fit
}

/// The counts of a folio as they were.
pub(crate) struct Counts {
    head: PageRef,
    count: u32,
    whole: u32,
    sum: u32,
    /// What each page's own counter was multiplied by, if pages have any.
    pages: Option<u32>,
}

impl Counts {
    /// Multiplies what one mapping has left by `times`.
    pub(crate) fn multiply(scheme: Mapcount, head: PageRef, times: u64) -> Self {
        let tail = head.first_tail();
        let own = (scheme == Mapcount::ThpLike).then(|| u32::try_from(times).unwrap_or(u32::MAX));
        let counts =
            Counts { head, count: head.raw_mapcount(), whole: tail.whole(), sum: tail.sum(), pages: own };
        let many = |count: u32| u32::try_from(u64::from(count) * times).unwrap_or(u32::MAX);
        tail.set_whole(many(counts.whole));
        match own {
            // How many pages are mapped is no count of mappings.
            Some(times) => each_page(head, |count| count.saturating_mul(times)),
            None => {
                head.set_raw_mapcount(many(counts.count));
                tail.set_sum(many(counts.sum));
            }
        }
        counts
    }

    /// Puts everything back.
    pub(crate) fn restore(self) {
        let tail = self.head.first_tail();
        tail.set_whole(self.whole);
        match self.pages {
            Some(times) => each_page(self.head, |count| count / times),
            None => {
                self.head.set_raw_mapcount(self.count);
                tail.set_sum(self.sum);
            }
        }
    }
}

/// Changes the counter of each page of a folio.
fn each_page(head: PageRef, change: impl Fn(u32) -> u32) {
    for page in (0..head.order().pages()).map(|n| head.nth(n)) {
        page.set_raw_mapcount(change(page.raw_mapcount()));
    }
}
