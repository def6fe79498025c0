//! Whether a folio was accessed since somebody last asked.
//!
//! Each leaf has an access flag. Where hardware does not manage it, an access through a leaf whose flag is clear takes
//! an access flag fault, whatever its rights ([`arch::contract::FaultStatus::AccessFlag`]), and the fault handler sets
//! the flag again. Asking means: count the leaves whose flag is set, and clear it, so that the next access shows.
//!
//! | CPU | who sets the flag | here |
//! |---|---|---|
//! | without FEAT_HAFDBS | the fault handler | in use |
//! | with FEAT_HAFDBS, TCR_EL1.HA = 1 | the walker, before it puts a translation into a TLB | the flag is cleared by compare and swap, so nothing that the walker sets is lost; but this kernel leaves HA at 0 on every CPU, since then *every* change of a leaf would have to be a compare and swap |
//!
//! The old translation is flushed, so an access after the answer is an access that shows.
//!
//! **The early exit.** A walk over the entries may stop when it has seen as many as the folio is mapped by, for what is
//! left cannot map it. Upstream takes that number from the folio's count of mappings. Where the count is less than the
//! number of entries ([`crate::config::Mapcount::RfcV1`]: 512 entries of one table count as one), the walk stops too
//! early, and a folio in use looks idle. [`Exit::AtCount`] is that walk, as it is; [`Exit::Never`] the repair. With a
//! scheme that counts entries both see the same.
#![forbid(unsafe_code)]

use core::ops::ControlFlow;

use super::walk::Origin;
use crate::Mm;
use crate::config::Mapcount;
use crate::mapcount;
use crate::page::{PageKind, PageRef};

/// When a walk that looks for accesses ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// When every entry was seen.
    Never,
    /// When as many entries were seen as the folio's count says.
    AtCount,
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Referenced {
    /// Entries that were looked at.
    pub looked_at: u64,
    /// Those of them through which somebody has accessed the folio since the flag was last cleared; the 16 of a folded
    /// group, which have one flag, count as one ([`crate::pgtable::fold`]).
    pub accessed: u64,
}

/// Looks at the access flag of the entries that map a folio of anonymous or shared memory, and clears it (Linux:
/// `folio_referenced`). The caller holds a reference to the folio, and no lock of rank 30 or above. A hugetlb folio is
/// never asked, as upstream: the answer is that nothing was looked at.
pub fn folio_referenced(mm: &Mm, head: PageRef, exit: Exit) -> Referenced {
    let origin = Origin::of(head);
    let mut found = Referenced::default();
    if !matches!(origin.kind, PageKind::Anon | PageKind::Shmem) {
        return found;
    }
    let most = match exit {
        Exit::Never => u64::MAX,
        Exit::AtCount => folio_mapcount(mm, head).into(),
    };
    let _ = origin.visit(mm, |place| {
        let flusher = place.space.flusher(mm);
        let mut tree = place.space.ptl.lock();
        mm.gather(place.space.tag(), |gather| {
            place.scan(&mut tree, |tree, va, step| {
                if origin.mapped_by(step).is_none() || found.looked_at >= most {
                    return;
                }
                found.looked_at += 1;
                if let Ok(entry) = tree.entry(flusher, va, step.level) {
                    found.accessed += u64::from(entry.clear_accessed(gather));
                }
            });
        });
        if found.looked_at >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

/// What the scheme calls the folio's count of mappings, whatever it counts (Linux: `folio_mapcount`).
fn folio_mapcount(mm: &Mm, head: PageRef) -> u32 {
    let scheme = mapcount::scheme(mm);
    match scheme {
        Mapcount::RfcV1 | Mapcount::RfcV1Counted | Mapcount::VmaPt => head.raw_mapcount(),
        _ => scheme.entries(head).value().unwrap_or(u32::MAX),
    }
}
