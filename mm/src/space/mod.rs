//! Room 6: address spaces. stub (E)
use crate::locks::SleepLock;
use crate::pgtable::{AsidCell, PtRoot};
use arch::sync::SpinLock;
use arch::{PhysAddr, VirtAddr};
/// ASID allocator.
pub struct Asids;
/// What a user may do with a VMA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prot(pub u8);
/// A VMA as a value: [start, end), rights, kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vma {
    /// s
    pub start: VirtAddr,
    /// e
    pub end: VirtAddr,
    /// rights
    pub prot: Prot,
    /// what backs it
    pub kind: VmaKind,
    /// MADV_HUGEPAGE / NOHUGEPAGE / none
    pub advice: HugeAdvice,
}
/// What backs a VMA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmaKind {
    /// anonymous private
    Anon,
    /// hugetlb private 2M
    Hugetlb,
}
/// advice
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugeAdvice {
    /// none
    None,
    /// yes
    Huge,
    /// no
    NoHuge,
}
/// One address space.
pub struct AddressSpace {
    /// Number, never reused; stands in page.mapping of anonymous pages.
    pub id: u64,
    /// ASID
    pub asid: AsidCell,
    /// M
    pub mmap_lock: SleepLock,
    /// T
    pub ptl: SpinLock<PtRoot>,
    /// R/Q (F)
    pub reservations: crate::thp::SpaceReservations,
    root: PhysAddr,
}
