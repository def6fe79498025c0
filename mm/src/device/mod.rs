//! Room 15: devices, in software, and what their mmap handlers may put into an address space.
//!
//! A VMA of a device is of one of two kinds. In a PFNMAP one there are frames by their numbers only; in a MIXEDMAP one
//! there may also be pages, which are counted. Whether a given *entry* is counted stands in the entry: a special one
//! ([`PteFlags::SPECIAL`]) is not, and everything else is. So unlike on Linux, where MIXEDMAP says that a frame with a
//! struct page is counted and insertion then marks it special all the same, nobody has to know how an entry came to be;
//! the kind of VMA decides what may be put in, and whether anybody may pin.
//!
//! | entry | VMA | put in | reference and mapping | pin | private write | fork | smaps | munmap gives back |
//! |---|---|---|---|---|---|---|---|---|
//! | frame outside of RAM | PFNMAP | yes | nobody's | EFAULT | SIGBUS | the same entry | Size only | nothing |
//! | frame of RAM | PFNMAP | yes | nobody's | EFAULT | a copy | the same entry | Size only | nothing |
//! | page of the kernel | PFNMAP | EINVAL | - | - | - | - | - | - |
//! | page of vmalloc memory | PFNMAP | EINVAL | - | - | - | - | - | - |
//! | private copy | PFNMAP | by a write | the entry's | EFAULT | in place | shared until written | Rss, Anonymous | its reference |
//! | frame outside of RAM | MIXEDMAP | yes | nobody's | EFAULT | SIGBUS | the same entry | Size only | nothing |
//! | frame of RAM | MIXEDMAP | yes | nobody's | EFAULT; private: a copy | a copy | the same entry | Size only | nothing |
//! | page of the kernel | MIXEDMAP | yes | the entry's | the page; private: a copy | a copy | the same entry, counted | Rss | its reference |
//! | page of vmalloc memory | MIXEDMAP | yes | the entry's | the page; private: a copy | a copy | the same entry, counted | Rss | its reference |
//! | private copy | MIXEDMAP | by a write | the entry's | the page | in place | shared until written | Rss, Anonymous | its reference |
//!
//! **Pages that are neither anonymous nor of a file**, such as vmalloc memory: their mappings are counted like all others,
//! since the count costs nothing that the reference does not cost too, and whoever frees such a page is told of a
//! mapping that is left. No one walks from such a page to its mappings: it has no `mapping`, and is neither migrated
//! nor reclaimed. It lives until the device and the last entry have both let go, in either order.
//!
//! **Life.** A frame that was put in by its number must outlive every VMA that was given it: neither fork nor munmap tells
//! the device. Beyond this table: such a VMA neither grows nor merges (mremap EFAULT), a page without an entry is a
//! SIGBUS, nothing in it is executed (EACCES), and MADV_DONTNEED is EINVAL for PFNMAP and drops entries for good in
//! MIXEDMAP.
//!
//! The table is [`TABLE`], and a test holds these lines, and those in `mm/README.md`, against it.
//!
//! | file | what |
//! |---|---|
//! | [`map`] | mmap handlers: what they put in, and faults |
//! | [`table`] | the table |
//! | [`dma`] | a device that reads and writes pinned pages when it likes |
//!
//! [`PteFlags::SPECIAL`]: arch::pte::PteFlags::SPECIAL
#![forbid(unsafe_code)]

pub mod dma;
pub mod map;
pub mod table;
#[cfg(test)]
mod tests;

pub use dma::{Dma, Transfer};
pub use map::{DeviceMap, Entries, Inserter, Sharing};
pub use table::TABLE;
