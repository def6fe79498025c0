//! Physical memory: host memory with a physical address.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::desc::DescError;
use crate::addr::{PAGE_SIZE, PhysAddr};
use crate::pte::Desc;

/// The RAM of one machine.
///
/// Descriptors are accessed as atomics. Bulk accesses are plain copies: vCPUs that race on such bytes race
/// on the modelled machine too, and every byte pattern is a value.
pub(super) struct Ram {
    base: PhysAddr,
    size: u64,
    /// The first byte: page aligned, inside the allocation.
    bytes: NonNull<u8>,
    allocation: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone, and any thread may use it.
unsafe impl Send for Ram {}
// SAFETY: `&Ram` gives out atomics, and raw pointers whose users answer for their accesses.
unsafe impl Sync for Ram {}

impl Ram {
    /// `bytes` zero bytes that stand at `base`.
    ///
    /// # Errors
    /// The host does not have so many.
    pub(super) fn new(base: PhysAddr, bytes: u64) -> Result<Self, DescError> {
        // One page more, aligned by hand: only for small alignments does the host's allocator give zero
        // pages without touching them.
        let room = bytes.checked_add(PAGE_SIZE).and_then(|room| usize::try_from(room).ok());
        let layout =
            room.and_then(|n| Layout::from_size_align(n, 8).ok()).ok_or(DescError::RamTooLarge(bytes))?;
        // SAFETY: the size is at least a page.
        let allocation =
            NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(DescError::RamTooLarge(bytes))?;
        let skip = allocation.align_offset(PAGE_SIZE as usize);
        // SAFETY: `skip` is less than the page that was asked for beside `bytes`.
        let first = unsafe { allocation.add(skip) };
        Ok(Ram { base, size: bytes, bytes: first, allocation, layout })
    }

    /// Whether all of the `bytes` bytes from `at` are RAM.
    pub(super) fn contains(&self, at: PhysAddr, bytes: u64) -> bool {
        at >= self.base
            && at.offset_from(self.base) <= self.size
            && bytes <= self.size - at.offset_from(self.base)
    }

    /// Where the `bytes` bytes from `at` stand on the host.
    ///
    /// # Panics
    /// Not all of them are RAM.
    pub(super) fn host(&self, at: PhysAddr, bytes: u64) -> *mut u8 {
        assert!(
            self.contains(at, bytes),
            "model: physical address {at} ({bytes} bytes) is not in RAM, {}..{}",
            self.base,
            self.base.add(self.size)
        );
        // SAFETY: the offset is inside the allocation, by the assertion.
        unsafe { self.bytes.as_ptr().add(at.offset_from(self.base) as usize) }
    }

    fn cell(&self, at: PhysAddr) -> &AtomicU64 {
        assert!(at.is_aligned(8), "model: a descriptor at {at} is not 8-byte aligned");
        // SAFETY: `host` checked the bounds, the assertion the alignment (the memory is page aligned); the
        // memory is initialised and lives as long as `self`.
        unsafe { AtomicU64::from_ptr(self.host(at, 8).cast()) }
    }

    pub(super) fn load(&self, at: PhysAddr) -> Desc {
        Desc::from_raw(self.cell(at).load(Ordering::Acquire))
    }

    /// Stores, and returns what stood there.
    pub(super) fn swap(&self, at: PhysAddr, new: Desc) -> Desc {
        Desc::from_raw(self.cell(at).swap(new.raw(), Ordering::AcqRel))
    }

    /// Stores where `old` stands, or returns what stands there instead.
    pub(super) fn cas(&self, at: PhysAddr, old: Desc, new: Desc) -> Result<(), Desc> {
        self.cell(at)
            .compare_exchange(old.raw(), new.raw(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Desc::from_raw)
    }

    pub(super) fn zero(&self, at: PhysAddr, bytes: u64) {
        // SAFETY: `host` checked the bounds; for races see [`Ram`].
        unsafe { self.host(at, bytes).write_bytes(0, bytes as usize) }
    }

    pub(super) fn copy(&self, to: PhysAddr, from: PhysAddr, bytes: u64) {
        let apart = to.raw() + bytes <= from.raw() || from.raw() + bytes <= to.raw();
        assert!(apart, "model: copy of {bytes} bytes from {from} to {to} overlaps");
        // SAFETY: `host` checked the bounds, the assertion that the ranges are apart.
        unsafe { self.host(to, bytes).copy_from_nonoverlapping(self.host(from, bytes), bytes as usize) }
    }

    pub(super) fn same(&self, a: PhysAddr, b: PhysAddr, bytes: u64) -> bool {
        // SAFETY: `host` checked the bounds, the memory is initialised, and the slices live for this
        // comparison only; for races see [`Ram`].
        let slice = |at| unsafe { std::slice::from_raw_parts(self.host(at, bytes), bytes as usize) };
        slice(a) == slice(b)
    }

    pub(super) fn read(&self, from: PhysAddr, into: &mut [u8]) {
        let host = self.host(from, into.len() as u64);
        // SAFETY: `host` checked the bounds; `into` is host memory outside RAM.
        unsafe { host.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) }
    }

    pub(super) fn write(&self, to: PhysAddr, from: &[u8]) {
        let host = self.host(to, from.len() as u64);
        // SAFETY: `host` checked the bounds; `from` is host memory outside RAM.
        unsafe { host.copy_from_nonoverlapping(from.as_ptr(), from.len()) }
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}
