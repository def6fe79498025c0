//! The `VmFlags` row of smaps: two letters for each property of a VMA, in the order of Linux's bits
//! (`show_smap_vma_flags`).
#![forbid(unsafe_code)]

use core::fmt;

use super::lines::Lines;
use crate::device::Entries;
use crate::space::{Commit, Growth, HugeAdvice, Prot, Vma, VmaKind};

/// Writes the row.
///
/// # Errors
/// The sink's.
pub(super) fn row(to: &mut Lines<'_>, vma: &Vma) -> fmt::Result {
    let right = |right| vma.prot.contains(right);
    let private_writable = right(Prot::WRITE) && matches!(vma.kind, VmaKind::Anon | VmaKind::Private(_));
    let shared = vma.kind.is_shared();
    let device = vma.kind.device();
    let holds = |entries| device.is_some_and(|map| map.entries == entries);
    let flags = [
        (right(Prot::READ), "rd "),
        (right(Prot::WRITE), "wr "),
        (right(Prot::EXEC), "ex "),
        (shared, "sh "),
        (true, "mr mw me "),
        (shared, "ms "),
        (vma.growth == Growth::Down, "gd "),
        (holds(Entries::PfnMap), "pf "),
        (holds(Entries::PfnMap), "io "),
        (vma.kind == VmaKind::Hugetlb || device.is_some(), "de "),
        (private_writable && vma.commit == Commit::Account, "ac "),
        (vma.commit == Commit::NoReserve, "nr "),
        (vma.kind == VmaKind::Hugetlb, "ht "),
        (device.is_some(), "dd "),
        (holds(Entries::MixedMap), "mm "),
        (vma.advice == HugeAdvice::Huge, "hg "),
        (vma.advice == HugeAdvice::NoHuge, "nh "),
    ];
    to.text("VmFlags: ")?;
    flags.into_iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, letters)| to.text(letters))?;
    to.ascii(b'\n')
}
