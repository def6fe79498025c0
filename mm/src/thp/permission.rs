//! Whether a process may have huge pages at all: PR_SET_THP_DISABLE of `prctl`.
//!
//! The word is asked at each fault and promotion, so it holds for what comes; huge pages that are mapped already stay.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use crate::space::AddressSpace;

/// Whether the anonymous memory of a space may become huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThpPermission {
    /// As mode and advice say.
    Granted,
    /// Never.
    Withheld,
}

/// The permission of one space.
#[derive(Debug)]
pub struct PermissionCell(AtomicBool);

impl PermissionCell {
    /// Granted.
    #[must_use]
    pub const fn new() -> Self {
        PermissionCell(AtomicBool::new(false))
    }
}

impl Default for PermissionCell {
    fn default() -> Self {
        Self::new()
    }
}

impl AddressSpace {
    /// Whether it may have huge pages.
    #[must_use]
    pub fn thp_permission(&self) -> ThpPermission {
        match self.may_thp.0.load(Ordering::Relaxed) {
            false => ThpPermission::Granted,
            true => ThpPermission::Withheld,
        }
    }

    /// Grants or withholds them from now on.
    pub fn set_thp_permission(&self, to: ThpPermission) {
        self.may_thp.0.store(to == ThpPermission::Withheld, Ordering::Relaxed);
    }
}
