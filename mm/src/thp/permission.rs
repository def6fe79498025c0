//! Whether a process may have huge pages: PR_SET_THP_DISABLE of `prctl`.
//!
//! The word is asked at each fault, promotion and collapse, so it holds for what comes; huge pages that are mapped
//! already stay, and what is set aside for more of them, the space's reservations, is given up when the word changes. A
//! child of fork is born with its parent's.
//!
//! | permission | a fault, khugepaged, promotion | MADV_COLLAPSE |
//! |---|---|---|
//! | granted | as mode and advice say | where MADV_NOHUGEPAGE does not forbid it |
//! | advised | the same, where MADV_HUGEPAGE was given | the same: to ask for it is advice enough |
//! | withheld | never | never |
//!
//! (Linux: `vma_thp_disabled`.)
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU8, Ordering};

use arch::VirtAddr;

use super::reservation;
use crate::Mm;
use crate::space::{AddressSpace, HugeAdvice};

/// Whether the anonymous memory of a space may become huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThpPermission {
    /// As mode and advice say.
    Granted,
    /// Only what MADV_HUGEPAGE or MADV_COLLAPSE asks for (`PR_THP_DISABLE_EXCEPT_ADVISED`).
    Advised,
    /// Never.
    Withheld,
}

impl ThpPermission {
    const ALL: [ThpPermission; 3] = [ThpPermission::Granted, ThpPermission::Advised, ThpPermission::Withheld];

    /// Whether memory with this advice may become huge by a fault, a promotion or khugepaged.
    #[must_use]
    pub fn allows(self, advice: HugeAdvice) -> bool {
        match (self, advice) {
            (_, HugeAdvice::NoHuge) | (ThpPermission::Withheld, _) => false,
            (ThpPermission::Granted, _) | (ThpPermission::Advised, HugeAdvice::Huge) => true,
            (ThpPermission::Advised, HugeAdvice::None) => false,
        }
    }

    /// Whether MADV_COLLAPSE may make memory with this advice huge.
    #[must_use]
    pub fn allows_collapse(self, advice: HugeAdvice) -> bool {
        self != ThpPermission::Withheld && advice != HugeAdvice::NoHuge
    }
}

/// The permission of one space: an index in `ThpPermission::ALL`.
#[derive(Debug)]
pub struct PermissionCell(AtomicU8);

impl PermissionCell {
    /// Of a new space.
    #[must_use]
    pub const fn new(permission: ThpPermission) -> Self {
        PermissionCell(AtomicU8::new(permission as u8))
    }
}

impl AddressSpace {
    /// Whether it may have huge pages.
    #[must_use]
    pub fn thp_permission(&self) -> ThpPermission {
        ThpPermission::ALL[usize::from(self.may_thp.0.load(Ordering::Relaxed))]
    }
}

impl Mm {
    /// Changes from now on whether the space may have huge pages, and gives up the reservations of memory that may not
    /// any more. Takes M for writing, as Linux does; the caller holds no lock.
    pub fn set_thp_permission(&self, space: &AddressSpace, to: ThpPermission) {
        let _mmap = space.mmap_lock.write(self.env);
        space.may_thp.0.store(to as u8, Ordering::Relaxed);
        let mut from = VirtAddr::new(0);
        while let Some(vma) = space.find_vma(from) {
            if !to.allows(vma.advice) {
                reservation::release_range(self, space, vma.start, vma.end);
            }
            from = vma.end;
        }
    }
}
