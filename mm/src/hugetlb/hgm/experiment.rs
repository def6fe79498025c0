//! The experiment `hgm`: what it costs to map a page of 1 GiB by 4 KiB, and to collapse it again, in the way of
//! counting that was chosen at boot; and how often it can be mapped so.
//!
//! Everything is done by the calls that a process would make, on a space of its own. The pool has one page of 1 GiB.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use crate::Mm;
use crate::error::OutOfMemory;
use crate::hugetlb::HugeSize;
use crate::kalloc::KArc;
use crate::mapcount::experiment::{Counts, Row};
use crate::mapcount::{Answer, Sharing, scheme};
use crate::page::PageRef;
use crate::report::Reading;
use crate::shmem::ObjectUse;
use crate::space::{AddressSpace, Advice, Errno, MapFlags, MapProt, MmapError, MmapRequest};
use crate::stats::Counter;

const SIZE: HugeSize = HugeSize::G1;
const BLOCK: HugeSize = HugeSize::M2;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
/// Mappings of 1 GiB by pages at which leaf entries overflow: 2^13, with 2^18 entries each.
const OVERFLOW: u64 = 1 << 13;

/// Why there is no figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmeasured {
    /// The pool has no page of 1 GiB, and cannot make one.
    Pool,
    /// A call failed with this error.
    Call(Errno),
}

impl From<MmapError> for Unmeasured {
    fn from(error: MmapError) -> Self {
        Unmeasured::Call(error.errno())
    }
}
impl From<OutOfMemory> for Unmeasured {
    fn from(_: OutOfMemory) -> Self {
        Unmeasured::Call(Errno::NoMem)
    }
}
impl From<super::ContinueError> for Unmeasured {
    fn from(error: super::ContinueError) -> Self {
        Unmeasured::Call(error.errno())
    }
}

/// A page of an object, and a space that may map it by any size.
struct Site<'m> {
    mm: &'m Mm,
    file: ObjectUse,
    space: KArc<AddressSpace>,
    start: VirtAddr,
}

/// Calls `f` with a page of 1 GiB that is there, mapped by nothing; the pool is as before afterwards.
fn with_site(mm: &Mm, f: impl FnOnce(&Site<'_>) -> Result<(), Unmeasured>) -> Result<(), Unmeasured> {
    let before = mm.hugetlb.counts(SIZE).nr;
    if mm.hugetlb.set_nr(mm, SIZE, before + 1).persistent == before {
        return Err(Unmeasured::Pool);
    }
    let result = mm.new_huge_object(SIZE, SIZE.bytes()).map_err(Unmeasured::from).and_then(|file| {
        let mapped = mm.new_space().map_err(Unmeasured::from);
        let result = mapped.and_then(|space| {
            let result = map(mm, &space, &file).and_then(|start| {
                // By its first touch.
                let touched = mm.write_user(&space, start, &[1]);
                touched.map_err(|_| Unmeasured::Call(Errno::Fault))?;
                let site = Site { mm, file: file.share(), space: space.clone(), start };
                let result = site.discard().and_then(|()| f(&site));
                mm.close_object(site.file);
                result
            });
            mm.destroy_space(&space);
            result
        });
        mm.close_object(file);
        result
    });
    let _smaller = mm.hugetlb.set_nr(mm, SIZE, before);
    result
}

/// Maps the object in a space, with smaller entries permitted.
fn map(mm: &Mm, space: &KArc<AddressSpace>, file: &ObjectUse) -> Result<VirtAddr, Unmeasured> {
    let request = MmapRequest { flags: MapFlags::SHARED, ..MmapRequest::anonymous(SIZE.bytes(), RW) };
    let start = mm.mmap_object(space, &request, file)?;
    mm.madvise(space, start.raw(), SIZE.bytes(), Advice::Split)?;
    Ok(start)
}

impl Site<'_> {
    /// Nothing maps the page any more.
    fn discard(&self) -> Result<(), Unmeasured> {
        Ok(self.mm.madvise(&self.space, self.start.raw(), SIZE.bytes(), Advice::DontNeed)?)
    }
    /// Maps all of it by 4 KiB, one call each.
    fn map_pages(&self) -> Result<(), Unmeasured> {
        (0..SIZE.bytes() / PAGE_SIZE).try_for_each(|n| {
            let va = self.start.add(n * PAGE_SIZE);
            Ok(self.mm.continue_huge(&self.space, va..va.add(PAGE_SIZE)).1?)
        })
    }
    fn collapse(&self, offset: u64, bytes: u64) -> Result<(), Unmeasured> {
        Ok(self.mm.madvise(&self.space, self.start.raw() + offset, bytes, Advice::Collapse)?)
    }
    fn head(&self) -> Result<PageRef, Unmeasured> {
        self.file.page(0).ok_or(Unmeasured::Call(Errno::NoEnt))
    }
}

/// Figures of one operation.
struct Figures {
    began: u64,
    before: [u64; COUNTED.len()],
}

/// What is counted beside time.
const COUNTED: [(Counter, &str); 6] = [
    (Counter::PteStore, "stores"),
    (Counter::PteBreak, "breaks"),
    (Counter::TlbiVa, "tlbi_va"),
    (Counter::TlbiAsid, "tlbi_asid"),
    (Counter::DsbIsh, "dsb"),
    (Counter::NrPageTable, "tables"),
];

impl Figures {
    fn begin(mm: &Mm) -> Self {
        mm.stats.take(Counter::HgmPtlHeldLongest);
        mm.stats.take(Counter::ThpMmapWriteHeldLongest);
        Figures { began: mm.env.now_ns(), before: COUNTED.map(|(counter, _)| mm.stats.get(counter)) }
    }
    fn say(self, mm: &Mm, what: &'static str, say: &mut dyn FnMut(&Row)) {
        let took = mm.env.now_ns() - self.began;
        let scheme = scheme(mm);
        let mut row = |part, value, unit| say(&Row { what, scheme, part, value, unit });
        row("", took, "ns");
        row("held_object_and_tables", mm.stats.take(Counter::HgmPtlHeldLongest), "ns");
        row("held_mmap_lock", mm.stats.take(Counter::ThpMmapWriteHeldLongest), "ns");
        for ((counter, part), before) in COUNTED.into_iter().zip(self.before) {
            row(part, mm.stats.get(counter).abs_diff(before), "times");
        }
    }
}

/// Measures collapse: of 262,144 entries in one step, and by way of 512 blocks.
///
/// # Errors
/// [`Unmeasured`]; everything is given back.
pub fn collapse(mm: &Mm, say: &mut dyn FnMut(&Row)) -> Result<(), Unmeasured> {
    with_site(mm, |site| {
        let mut measure = |what, operation: &mut dyn FnMut() -> Result<(), Unmeasured>| {
            let figures = Figures::begin(mm);
            operation()?;
            figures.say(mm, what, say);
            Ok::<(), Unmeasured>(())
        };
        measure("continue_1g_by_4k", &mut || site.map_pages())?;
        measure("collapse_1g_in_one_step", &mut || site.collapse(0, SIZE.bytes()))?;
        site.discard()?;
        site.map_pages()?;
        measure("collapse_1g_step_1_of_2", &mut || {
            let blocks = SIZE.bytes() / BLOCK.bytes();
            (0..blocks).try_for_each(|n| site.collapse(n * BLOCK.bytes(), BLOCK.bytes()))
        })?;
        measure("collapse_1g_step_2_of_2", &mut || site.collapse(0, SIZE.bytes()))
    })
}

/// Says what those make of the page who ask how it is mapped, when one process maps all of it by 4 KiB and by nothing
/// else: smaps, a migration that moves only what is not shared, and the count that is left when it was truncated.
///
/// # Errors
/// As [`collapse`].
pub fn consumers(mm: &Mm, say: &mut dyn FnMut(&Row)) -> Result<(), Unmeasured> {
    let (what, scheme) = ("one_process_maps_1g_by_4k", scheme(mm));
    let stranded = mm.stats.get(Counter::MapcountStranded);
    with_site(mm, |site| {
        site.map_pages()?;
        let mut row = |part, value, unit| say(&Row { what, scheme, part, value, unit });
        let end = site.start.add(SIZE.bytes());
        let sizes = mm.sizes(&site.space, site.start, end, Reading::Locked);
        row("private_hugetlb", sizes.private_hugetlb >> 10, "KiB");
        row("shared_hugetlb", sizes.shared_hugetlb >> 10, "KiB");
        let alone = scheme.sharing(site.head()?) == Answer::Exact(Sharing::Exclusive);
        row("moved_without_move_all", alone.into(), "pages");
        let truncated = mm.truncate_object(&site.file, 0);
        truncated.map_err(|_| Unmeasured::Call(Errno::Inval))
    })?;
    let left = mm.stats.get(Counter::MapcountStranded) - stranded;
    say(&Row { what, scheme, part: "counts_left_by_truncation", value: left, unit: "counts" });
    Ok(())
}

/// Says how many of 8192 mappings of all of the page by 4 KiB there can be, and with which error the next entry is
/// refused. One is made; references and counts are set to what so many others would have brought them to, and the next
/// one is made as any other.
///
/// # Errors
/// As [`collapse`].
pub fn overflow(mm: &Mm, say: &mut dyn FnMut(&Row)) -> Result<(), Unmeasured> {
    with_site(mm, |site| {
        site.map_pages()?;
        let (head, entries) = (site.head()?, SIZE.bytes() / PAGE_SIZE);
        let other = mm.new_space()?;
        let result = map(mm, &other, &site.file).and_then(|start| {
            let mut fit = None;
            for others in OVERFLOW - 2..OVERFLOW {
                let counts = Counts::multiply(scheme(mm), head, others);
                let more = ((others - 1) * entries) as u32;
                head.get_many(more);
                let next = Site { mm, file: site.file.share(), space: other.clone(), start };
                let mapped = next.map_pages();
                let undone = next.discard();
                mm.close_object(next.file);
                mm.put_references(head, more);
                counts.restore();
                undone?;
                if let Err(why) = mapped {
                    fit = Some((others, why));
                    break;
                }
            }
            let scheme = scheme(mm);
            let what = "mappings_of_1g_by_4k_that_fit";
            let value = fit.map_or(OVERFLOW, |(fit, _)| fit);
            say(&Row { what, scheme, part: "", value, unit: "mappings" });
            let errno = match fit {
                Some((_, Unmeasured::Call(errno))) => errno as u64,
                Some((_, Unmeasured::Pool)) | None => 0,
            };
            say(&Row { what, scheme, part: "refused_with", value: errno, unit: "number" });
            Ok(())
        });
        mm.destroy_space(&other);
        result
    })
}
