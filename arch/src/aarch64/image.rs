//! Where the parts of the image stand. The symbols come from `linker.ld`.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::addr::{PhysAddr, VirtAddr};
use crate::layout::IMAGE_BASE;
use crate::pte::PteFlags;

/// Physical address of the first byte of the image; stored by [`super::boot`] before anything asks.
static LOADED_AT: AtomicU64 = AtomicU64::new(0);

pub(super) fn set_loaded_at(pa: PhysAddr) {
    LOADED_AT.store(pa.raw(), Ordering::Relaxed);
}

/// Physical address of the first byte of the image: a multiple of 2 MiB.
#[must_use]
pub fn loaded_at() -> PhysAddr {
    PhysAddr::new(LOADED_AT.load(Ordering::Relaxed))
}

/// The physical address of `va`, which lies in the image.
#[must_use]
pub fn phys_of(va: VirtAddr) -> PhysAddr {
    loaded_at().add(va.offset_from(IMAGE_BASE))
}

/// The physical address of a static.
pub(super) fn phys_of_static<T>(object: *const T) -> PhysAddr {
    phys_of(VirtAddr::new(object.addr() as u64))
}

/// A part of the image with rights of its own: page aligned at both ends.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// First address.
    pub start: VirtAddr,
    /// One past the last address.
    pub end: VirtAddr,
    /// The rights that the kernel's tables give it.
    pub flags: PteFlags,
}

macro_rules! symbol {
    ($name:ident) => {{
        // SAFETY: a symbol of the linker script; only its address is taken.
        unsafe extern "C" {
            static $name: u8;
        }
        VirtAddr::new((&raw const $name).addr() as u64)
    }};
}

/// The parts of the image: text, read-only data, data.
#[must_use]
pub fn sections() -> [Section; 3] {
    [
        Section { start: symbol!(__text_start), end: symbol!(__text_end), flags: PteFlags::KERNEL_RX },
        Section { start: symbol!(__rodata_start), end: symbol!(__rodata_end), flags: PteFlags::KERNEL_RO },
        Section { start: symbol!(__data_start), end: symbol!(__image_end), flags: PteFlags::KERNEL_RW },
    ]
}

/// Bytes from the first to the last byte of the image, .bss included.
#[must_use]
pub fn bytes() -> u64 {
    symbol!(__image_end).offset_from(IMAGE_BASE)
}
