//! The full consistency check: counts and lists against a scan of everything.
//!
//! Each room has one function in [`ROOMS`], which compares what the room believes with what it finds: every struct
//! page of RAM, every list, every descriptor of the kernel's tree and of each live address space.
//!
//! ```text
//!   lists, counters, gauges  --.
//!   struct pages ---------------+--> must tell the same, or: an Inconsistency, the first one found
//!   descriptors of all trees --'
//! ```
//! **What counts as truth.** Mappings are counted by the tables: [`crate::space`] holds each leaf of each tree against
//! the struct page that it maps, and each struct page in use against the leaves in the place that it names. Tables
//! and the frames of vmemmap must be linked exactly once: their links and their struct pages are two sets that a
//! [`Tally`] compares without memory of its own.
//!
//! **When it holds.** At rest: no call of memory management is under way on any CPU, so that no page is in hand, and
//! no walker holds a speculative reference. On the machine it runs under [`crate::env::KernelEnv::stop_machine`], while
//! nobody is inside memory management. It takes spinlocks one at a time, allocates nothing and writes nothing.
#![forbid(unsafe_code)]

mod pages;
mod report;
mod tally;
#[cfg(test)]
mod tests;

pub use report::{Inconsistency, Report, agree};
pub use tally::Tally;

pub(crate) use pages::{Mapped, for_each_block};

use crate::Mm;

/// A room's check. It may add to the report.
pub type RoomCheck = fn(&Mm, &mut Report) -> Result<(), Inconsistency>;

/// Every room's check, by the room's name. The first fills in the report, so that the others may rely on it: every
/// block of RAM has a kind and an order that lead to the next one.
pub const ROOMS: &[(&str, RoomCheck)] = &[
    ("buddy", Mm::check_buddy),
    ("kernel tables", Mm::check_kernel_tables),
    ("page tables", Mm::check_tables),
    ("address spaces", Mm::check_spaces),
    ("reservations", Mm::check_reservations),
    ("pages in use", Mm::check_pages),
    ("deferred split", Mm::check_deferred),
    ("objects", Mm::check_objects),
    ("VMA trees", Mm::check_vma_trees),
    ("usage", Mm::check_usage),
    ("hugetlb", Mm::check_hugetlb),
    ("vmemmap", Mm::check_vmemmap),
];

impl Mm {
    /// Checks everything, every live address space among it.
    ///
    /// # Errors
    /// The first [`Inconsistency`].
    pub fn check_all(&self) -> Result<Report, Inconsistency> {
        let mut report = Report::default();
        ROOMS.iter().try_for_each(|(_, check)| check(self, &mut report))?;
        Ok(report)
    }
}
