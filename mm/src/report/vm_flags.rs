//! The `VmFlags` row of smaps: two letters for each property of a VMA, in the order of Linux's bits
//! (`show_smap_vma_flags`).
#![forbid(unsafe_code)]

use core::fmt;

use super::lines::Lines;
use crate::device::Entries;
use crate::space::{AccessPattern, Commit, Growth, HugeAdvice, Prot, Vma, VmaKind};

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
        (right(Prot::READ), b"rd "),
        (right(Prot::WRITE), b"wr "),
        (right(Prot::EXEC), b"ex "),
        (shared, b"sh "),
        (true, b"mr "),
        (true, b"mw "),
        (true, b"me "),
        (shared, b"ms "),
        (vma.growth == Growth::Down, b"gd "),
        (holds(Entries::PfnMap), b"pf "),
        (holds(Entries::PfnMap), b"io "),
        (vma.pattern == AccessPattern::Sequential, b"sr "),
        (vma.pattern == AccessPattern::Random, b"rr "),
        (vma.kind.huge_size().is_some() || device.is_some(), b"de "),
        (private_writable && vma.commit == Commit::Account, b"ac "),
        (vma.commit == Commit::NoReserve, b"nr "),
        (vma.kind.huge_size().is_some(), b"ht "),
        (device.is_some(), b"dd "),
        (holds(Entries::MixedMap), b"mm "),
        (vma.advice == HugeAdvice::Huge, b"hg "),
        (vma.advice == HugeAdvice::NoHuge, b"nh "),
        (vma.userfault.is_some(), b"ui "),
    ];
    to.text("VmFlags: ")?;
    flags.into_iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, letters)| to.word(letters))?;
    to.ascii(b'\n')
}
