//! Where a part writes its figures.
#![forbid(unsafe_code)]

use core::fmt;

use super::Run;

/// The rows of one boot.
pub(super) struct Sheet<'s, 'w> {
    boot: &'s str,
    run: &'s mut Run<'w>,
}

impl<'s, 'w> Sheet<'s, 'w> {
    pub(super) fn new(boot: &'s str, run: &'s mut Run<'w>) -> Self {
        Sheet { boot, run }
    }

    /// Says a figure.
    pub(super) fn add(&mut self, table: impl fmt::Display, column: &str, value: u64, unit: &str) {
        self.run.line(format_args!("{}.{table}.{column} {value} {unit}", self.boot));
    }

    /// Says what is left out, and why.
    pub(super) fn remark(&mut self, remark: impl fmt::Display) {
        self.run.line(remark);
    }
}
