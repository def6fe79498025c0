//! The `VmFlags` row of smaps: two letters for each property of a VMA, in the order of Linux's bits
//! (`show_smap_vma_flags`).
#![forbid(unsafe_code)]

use core::fmt;

use super::lines::Lines;
use crate::space::{Commit, Growth, HugeAdvice, Prot, Vma, VmaKind};

/// Writes the row.
///
/// # Errors
/// The sink's.
pub(super) fn row(to: &mut Lines<'_>, vma: &Vma) -> fmt::Result {
    let right = |right| vma.prot.contains(right);
    let private_writable = right(Prot::WRITE) && matches!(vma.kind, VmaKind::Anon | VmaKind::Private(_));
    let shared = matches!(vma.kind, VmaKind::Shared(_));
    let flags = [
        (right(Prot::READ), "rd "),
        (right(Prot::WRITE), "wr "),
        (right(Prot::EXEC), "ex "),
        (shared, "sh "),
        (true, "mr mw me "),
        (shared, "ms "),
        (vma.growth == Growth::Down, "gd "),
        (vma.kind == VmaKind::Hugetlb, "de "),
        (private_writable && vma.commit == Commit::Account, "ac "),
        (vma.commit == Commit::NoReserve, "nr "),
        (vma.kind == VmaKind::Hugetlb, "ht "),
        (vma.advice == HugeAdvice::Huge, "hg "),
        (vma.advice == HugeAdvice::NoHuge, "nh "),
    ];
    to.text("VmFlags: ")?;
    flags.into_iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, letters)| to.text(letters))?;
    to.ascii(b'\n')
}
