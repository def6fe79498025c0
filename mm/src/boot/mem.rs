//! What the machine was booted with, and its check.
#![forbid(unsafe_code)]

use core::fmt;

use arch::addr::PAGE_SIZE;
use arch::layout::LINEAR_BYTES;
use arch::pte::{HwDirty, PteFlags};
use arch::{Desc, Level, PhysAddr, VirtAddr};

use super::frames::{FrameList, Frames};
use crate::config::Refusal;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;

/// A range of physical memory, `[start, end)`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysRange {
    /// The first byte.
    pub start: PhysAddr,
    /// One past the last byte.
    pub end: PhysAddr,
}

impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// One part of the kernel image and its rights. All three numbers are multiples of 4 KiB; where they are
/// multiples of 2 MiB, blocks map it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSection {
    /// Where it is linked, in the kernel's half.
    pub va: VirtAddr,
    /// Where it was loaded; inside a reserved range.
    pub pa: PhysAddr,
    /// Its size.
    pub bytes: u64,
    /// [`PteFlags::KERNEL_RX`], [`PteFlags::KERNEL_RO`] or [`PteFlags::KERNEL_RW`].
    pub flags: PteFlags,
}

impl ImageSection {
    /// The bytes that it occupies.
    #[must_use]
    pub fn range(&self) -> PhysRange {
        PhysRange { start: self.pa, end: self.pa.add(self.bytes) }
    }
}

/// What the machine was booted with.
#[derive(Clone, Copy, Debug)]
pub struct BootMem<'a> {
    /// All RAM: any number of ranges in any order, none overlapping. What is left of a page at either end of
    /// a range is not used.
    pub ram: &'a [PhysRange],
    /// Parts of it that are in use: image, device tree, initrd. They may overlap, and need not be whole pages.
    pub reserved: &'a [PhysRange],
    /// The image's sections; none on the model.
    pub image: &'a [ImageSection],
    /// RAM that the linear map in force already covers: early tables come from here.
    pub mapped: PhysRange,
}

/// Why memory management could not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// Boot choices that exclude each other.
    Config(Refusal),
    /// No range of RAM holds a whole page.
    NoRam,
    /// A range ends before it begins.
    Backwards(PhysRange),
    /// Two ranges of RAM have memory in common.
    Overlap(PhysRange, PhysRange),
    /// RAM above what the linear map can hold.
    TooHigh(PhysRange),
    /// Two parts of the image, or of the kernel's half, want the same address.
    MappedTwice(VirtAddr),
    /// An image section is not made of whole pages.
    SectionUnaligned(ImageSection),
    /// An image section grants both write and execute.
    SectionWritableExecutable(ImageSection),
    /// An image section is not in reserved RAM, so its memory would be given away.
    SectionNotReserved(ImageSection),
    /// No aligned run of free frames is left for this.
    NoMemory {
        /// What it was for.
        what: &'static str,
        /// Bytes, and their alignment.
        bytes: u64,
    },
    /// The kernel heap has no room for the lists of boot.
    NoHeap,
}

impl From<Refusal> for BootError {
    fn from(refusal: Refusal) -> Self {
        BootError::Config(refusal)
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Config(refusal) => refusal.fmt(f),
            BootError::NoRam => write!(f, "no range of RAM holds a whole page"),
            BootError::Backwards(range) => write!(f, "the range {range} ends before it begins"),
            BootError::Overlap(a, b) => write!(f, "the RAM ranges {a} and {b} overlap"),
            BootError::TooHigh(range) => {
                write!(f, "RAM at {range} is above {LINEAR_BYTES:#x}, the end of the linear map")
            }
            BootError::MappedTwice(va) => write!(f, "two mappings of the kernel want {va}"),
            BootError::SectionUnaligned(s) => {
                write!(f, "image section at {} ({}, {:#x} bytes) is not whole pages", s.va, s.pa, s.bytes)
            }
            BootError::SectionWritableExecutable(s) => {
                write!(f, "image section at {} is both writable and executable", s.va)
            }
            BootError::SectionNotReserved(s) => {
                write!(f, "image section at {} stands in {}, which is not reserved RAM", s.va, s.range())
            }
            BootError::NoMemory { what, bytes } => {
                write!(f, "no {bytes} aligned bytes of RAM are left for {what}")
            }
            BootError::NoHeap => write!(f, "the kernel heap is too small to boot"),
        }
    }
}

impl From<allocator_api2::collections::TryReserveError> for BootError {
    fn from(_: allocator_api2::collections::TryReserveError) -> Self {
        BootError::NoHeap
    }
}

impl From<OutOfMemory> for BootError {
    fn from(_: OutOfMemory) -> Self {
        BootError::NoHeap
    }
}

impl BootMem<'_> {
    /// Checks everything that was handed over, and returns the frames of RAM, ascending, with a gap between any
    /// two ranges.
    pub(super) fn check(&self) -> Result<FrameList, BootError> {
        for &range in self.ram.iter().chain(self.reserved).chain([&self.mapped]) {
            if range.end < range.start {
                return Err(BootError::Backwards(range));
            }
        }
        self.image.iter().try_for_each(|section| self.check_section(section))?;
        self.check_ram()?;
        let mut frames = FrameList::new_in(KAlloc);
        frames.try_reserve_exact(self.ram.len())?;
        frames.extend(self.ram.iter().map(|&range| Frames::inside(range)).filter(|f| !f.is_empty()));
        frames.sort_unstable_by_key(|frames| frames.start);
        frames.dedup_by(|next, last| last.absorb(*next));
        if frames.is_empty() { Err(BootError::NoRam) } else { Ok(frames) }
    }

    fn check_ram(&self) -> Result<(), BootError> {
        for (n, &a) in self.ram.iter().enumerate() {
            if a.end.raw() > LINEAR_BYTES {
                return Err(BootError::TooHigh(a));
            }
            let clash = self.ram[..n].iter().find(|b| a.start < b.end && b.start < a.end);
            if let Some(&b) = clash {
                return Err(BootError::Overlap(b, a));
            }
        }
        Ok(())
    }

    fn check_section(&self, section: &ImageSection) -> Result<(), BootError> {
        let numbers = [section.va.raw(), section.pa.raw(), section.bytes];
        if numbers.iter().any(|n| !n.is_multiple_of(PAGE_SIZE)) || !section.va.is_kernel() {
            return Err(BootError::SectionUnaligned(*section));
        }
        let leaf = Desc::leaf(section.pa, Level::L3, section.flags);
        if leaf.grants_write(HwDirty::Enabled) && (leaf.kernel_exec() || leaf.user_exec()) {
            return Err(BootError::SectionWritableExecutable(*section));
        }
        let range = section.range();
        let holds = |r: &PhysRange| r.start <= range.start && range.end <= r.end;
        if self.reserved.iter().any(holds) { Ok(()) } else { Err(BootError::SectionNotReserved(*section)) }
    }
}
