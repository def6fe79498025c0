//! What PFNMAP and MIXEDMAP mean, as a table: it is shown by the documentation, and the tests do what it says.

use super::Entries;

/// What stands in the VMA of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A frame that is no RAM, by its number.
    OutsideFrame,
    /// A frame of RAM, by its number: its struct page is left alone.
    RamFrame,
    /// A page of the kernel, with a reference.
    KernelPage,
    /// A page of vmalloc memory, which the kernel has mapped elsewhere too, with a reference.
    VmallocPage,
    /// The copy of any of them that a write through a private mapping has made.
    PrivateCopy,
}

/// Who holds a reference to the folio, and who counts the mapping: one answer to both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Nobody.
    Nobody,
    /// The entry.
    Entry,
}

/// What becomes of a pin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// EFAULT.
    Refused,
    /// EFAULT in a shared mapping; in a private one a copy is made and pinned.
    CopyIfPrivate,
    /// The page itself in a shared mapping; in a private one a copy is made and pinned.
    PageOrCopy,
    /// The page itself.
    Page,
}

/// What a write through a private mapping does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrivateWrite {
    /// SIGBUS: what is no RAM cannot be read like memory.
    Bus,
    /// An anonymous copy takes the entry's place.
    Copy,
    /// It is done in place, or after fork in another copy.
    Anonymous,
}

/// What fork does with the entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fork {
    /// The child gets the same entry.
    Entry,
    /// The child gets the same entry, with a reference and a mapping.
    Counted,
    /// Parent and child share the page until one of them writes.
    Anonymous,
}

/// What smaps says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Smaps {
    /// Size only: it is not resident.
    Size,
    /// Resident, and not anonymous.
    File,
    /// Resident and anonymous.
    Anonymous,
}

/// What munmap gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Munmap {
    /// Nothing: the frame is the device's.
    Nothing,
    /// The entry's reference; with the last of all the page.
    Reference,
}

/// What holds of an entry that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Semantics {
    /// Who holds a reference, and who is counted.
    pub count: Count,
    /// Pins.
    pub pin: Pin,
    /// Writes through private mappings.
    pub private_write: PrivateWrite,
    /// fork.
    pub fork: Fork,
    /// smaps.
    pub smaps: Smaps,
    /// munmap.
    pub munmap: Munmap,
}

/// A row: a kind of entry in a kind of VMA.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The entry.
    pub entry: EntryKind,
    /// The VMA.
    pub vma: Entries,
    /// What holds of it. `None`: it cannot be put in.
    pub semantics: Option<Semantics>,
}

const fn row(entry: EntryKind, vma: Entries, semantics: Semantics) -> Row {
    Row { entry, vma, semantics: Some(semantics) }
}

const fn refused(entry: EntryKind, vma: Entries) -> Row {
    Row { entry, vma, semantics: None }
}

/// A frame by its number: nobody counts it.
const FRAME: Semantics = Semantics {
    count: Count::Nobody,
    pin: Pin::Refused,
    private_write: PrivateWrite::Copy,
    fork: Fork::Entry,
    smaps: Smaps::Size,
    munmap: Munmap::Nothing,
};
/// A page: the entry is an owner like any other.
const PAGE: Semantics = Semantics {
    count: Count::Entry,
    pin: Pin::PageOrCopy,
    private_write: PrivateWrite::Copy,
    fork: Fork::Counted,
    smaps: Smaps::File,
    munmap: Munmap::Reference,
};
/// A private copy: anonymous memory.
const COPY: Semantics = Semantics {
    count: Count::Entry,
    pin: Pin::Page,
    private_write: PrivateWrite::Anonymous,
    fork: Fork::Anonymous,
    smaps: Smaps::Anonymous,
    munmap: Munmap::Reference,
};

/// The rows.
pub const TABLE: &[Row] = &[
    row(EntryKind::OutsideFrame, Entries::PfnMap, Semantics { private_write: PrivateWrite::Bus, ..FRAME }),
    row(EntryKind::RamFrame, Entries::PfnMap, FRAME),
    refused(EntryKind::KernelPage, Entries::PfnMap),
    refused(EntryKind::VmallocPage, Entries::PfnMap),
    row(EntryKind::PrivateCopy, Entries::PfnMap, Semantics { pin: Pin::Refused, ..COPY }),
    row(EntryKind::OutsideFrame, Entries::MixedMap, Semantics { private_write: PrivateWrite::Bus, ..FRAME }),
    row(EntryKind::RamFrame, Entries::MixedMap, Semantics { pin: Pin::CopyIfPrivate, ..FRAME }),
    row(EntryKind::KernelPage, Entries::MixedMap, PAGE),
    row(EntryKind::VmallocPage, Entries::MixedMap, PAGE),
    row(EntryKind::PrivateCopy, Entries::MixedMap, COPY),
];
