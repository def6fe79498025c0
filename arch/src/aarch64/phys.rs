//! Physical memory through the linear map.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Machine, bulk};
use crate::addr::{ENTRIES_PER_TABLE, PAGE_SIZE, PhysAddr};
use crate::contiguous::CONT_ENTRIES;
use crate::contract::{DescTable, Dsb, Mmu, PhysMem};
use crate::features::BbmLevel;
use crate::layout::{LINEAR_BYTES, linear};
use crate::pte::{Desc, PteFlags};

/// A register that the register crate lacks.
macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reads a register that never changes.
        unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

/// The linear-map address of `pa` as a pointer.
#[inline(always)]
fn at<T>(pa: PhysAddr) -> *mut T {
    debug_assert!(pa.raw() < LINEAR_BYTES, "{pa} is above the linear map");
    core::ptr::with_exposed_provenance_mut(linear(pa).raw() as usize)
}

#[cold]
fn misplaced(pa: PhysAddr) -> ! {
    panic!("a descriptor at {pa}")
}

/// The descriptor at `pa`, as the atomic word that walkers and other CPUs read.
#[inline(always)]
fn slot(pa: PhysAddr) -> &'static AtomicU64 {
    if !pa.is_aligned(8) {
        misplaced(pa);
    }
    // SAFETY: aligned; RAM of the linear map is mapped for ever (contract), and page tables are accessed as
    // atomic words only.
    unsafe { AtomicU64::from_ptr(at(pa)) }
}

/// What can be said of a store without knowing level and contents: without FEAT_BBM a live descriptor never changes
/// between table and block, and a live leaf keeps its memory type (R_WHZWS; see `bbm`). No TLB holds a leaf with the
/// access flag clear. In a table descriptor the bits in question are ignored, and mm leaves them zero.
fn check_store(at: PhysAddr, old: Desc, new: Desc) {
    let accessed = old.raw() & PteFlags::ACCESSED.bits() != 0;
    let changed = |flags: PteFlags| (old.raw() ^ new.raw()) & flags.bits() != 0;
    let is_block = old.raw() & PteFlags::TABLE_OR_PAGE.bits() == 0;
    if !(old.is_valid() && new.is_valid()) {
        return;
    }
    if changed(PteFlags::TABLE_OR_PAGE) {
        let allowed = is_block && !accessed || Machine::features().bbm > BbmLevel::Level0;
        assert!(allowed, "descriptor at {at}: {old} became {new}: a size changes by break-before-make");
    } else if accessed {
        let kept = !changed(PteFlags::ATTR_INDEX.union(PteFlags::SHAREABILITY));
        assert!(kept, "descriptor at {at}: {old} became {new}: a memory type changes by break-before-make");
    }
}

/// The descriptors of a table, through the linear map.
#[derive(Clone, Copy, Debug)]
pub struct Table(&'static [AtomicU64; ENTRIES_PER_TABLE]);

impl DescTable for Table {
    #[inline(always)]
    fn read(self, n: usize) -> Desc {
        Desc::from_raw(self.0[n].load(Ordering::Acquire))
    }

    #[inline(always)]
    fn read_still(self, first: usize) -> [Desc; CONT_ENTRIES] {
        match self.0[first..].first_chunk::<CONT_ENTRIES>() {
            Some(row) => core::array::from_fn(|n| Desc::from_raw(row[n].load(Ordering::Relaxed))),
            None => [Desc::INVALID; CONT_ENTRIES],
        }
    }

    #[inline(always)]
    fn write(self, n: usize, new: Desc) {
        if cfg!(debug_assertions) {
            let at =
                PhysAddr::new(core::ptr::from_ref(&self.0[n]).addr() as u64 - linear(PhysAddr::new(0)).raw());
            check_store(at, self.read(n), new);
        }
        self.0[n].store(new.raw(), Ordering::Release);
    }
}

impl PhysMem for Machine {
    type Table = Table;

    #[inline(always)]
    fn table(table: PhysAddr) -> Table {
        assert!(table.is_aligned(PAGE_SIZE), "a table at {table}");
        // SAFETY: `&*` asks for an aligned pointer to valid memory that nobody writes otherwise while it is used: a
        // page of RAM in the linear map, which is mapped for ever (contract), and page tables are accessed as atomic
        // words only.
        Table(unsafe { &*at(table) })
    }

    #[inline(always)]
    fn read_desc(at: PhysAddr) -> Desc {
        Desc::from_raw(slot(at).load(Ordering::Acquire))
    }

    #[inline(always)]
    fn write_desc(at: PhysAddr, new: Desc) {
        if cfg!(debug_assertions) {
            check_store(at, Self::read_desc(at), new);
        }
        slot(at).store(new.raw(), Ordering::Release);
    }

    fn cas_desc(at: PhysAddr, old: Desc, new: Desc) -> Result<(), Desc> {
        if cfg!(debug_assertions) {
            check_store(at, old, new);
        }
        slot(at)
            .compare_exchange(old.raw(), new.raw(), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(Desc::from_raw)
    }

    /// Whole pages by vector registers; else by DC ZVA where the CPU allows it and the range is a multiple of its
    /// block; else by stores.
    #[inline]
    fn zero(to: PhysAddr, bytes: u64) {
        debug_assert!(to.is_aligned(64) && bytes.is_multiple_of(64), "zero {bytes} bytes at {to}");
        if bytes.is_multiple_of(PAGE_SIZE) {
            // SAFETY: RAM that the caller owns, mapped by the linear map; whole pages.
            return unsafe { bulk::zero(linear(to).raw(), bytes) };
        }
        zero_lines(to, bytes);
    }

    /// By vector registers.
    #[inline]
    fn fill(to: PhysAddr, bytes: u64, words: [u64; 2]) {
        debug_assert!(to.is_aligned(64) && bytes.is_multiple_of(64), "fill {bytes} bytes at {to}");
        // SAFETY: 1. RAM that the caller owns, mapped by the linear map; lines of 64 bytes.
        unsafe { bulk::fill_lines(linear(to).raw(), bytes / 64, words) };
    }

    /// Whole pages by vector registers.
    #[inline]
    fn copy(to: PhysAddr, from: PhysAddr, bytes: u64) {
        if bytes.is_multiple_of(PAGE_SIZE) {
            // SAFETY: two ranges of RAM that do not overlap (contract), mapped by the linear map; whole pages.
            return unsafe { bulk::copy(linear(to).raw(), linear(from).raw(), bytes) };
        }
        // SAFETY: two ranges of RAM that do not overlap (contract), mapped by the linear map.
        unsafe { core::ptr::copy_nonoverlapping(at::<u8>(from).cast_const(), at::<u8>(to), bytes as usize) };
    }

    fn equal(a: PhysAddr, b: PhysAddr, bytes: u64) -> bool {
        /// A line of words: a comparison of bytes takes ten times as many instructions.
        type Line = [u64; 8];
        debug_assert!(
            a.is_aligned(64) && b.is_aligned(64) && bytes.is_multiple_of(64),
            "{bytes} at {a} and {b}"
        );
        let lines = bytes as usize / size_of::<Line>();
        // SAFETY: RAM, mapped by the linear map; the caller sees to it that nobody writes meanwhile.
        let [a, b] =
            [a, b].map(|pa| unsafe { core::slice::from_raw_parts(at::<Line>(pa).cast_const(), lines) });
        let alike = |a: &Line, b: &Line| a.iter().zip(b).fold(0, |differ, (a, b)| differ | a ^ b) == 0;
        a.iter().zip(b).all(|(a, b)| alike(a, b))
    }

    fn read_bytes(from: PhysAddr, into: &mut [u8]) {
        // SAFETY: RAM, mapped by the linear map; `into` is a reference, so nothing of it overlaps.
        unsafe { core::ptr::copy_nonoverlapping(at::<u8>(from).cast_const(), into.as_mut_ptr(), into.len()) };
    }

    fn write_bytes(to: PhysAddr, from: &[u8]) {
        // SAFETY: RAM that the caller owns, mapped by the linear map; `from` is a reference, so nothing of it
        // overlaps.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), at::<u8>(to), from.len()) };
    }

    #[inline(always)]
    fn released(_at: PhysAddr, _bytes: u64) {}

    /// Lines as CTR_EL0 has them; nothing is cleaned with IDC, nothing invalidated with DIC.
    fn sync_icache(at: PhysAddr, bytes: u64) {
        debug_assert!(at.is_aligned(64) && bytes.is_multiple_of(64), "sync {bytes} bytes at {at}");
        let ctr = read_register!("ctr_el0");
        let lines = |shift: u64| {
            let start = linear(at).raw();
            (start..start + bytes).step_by(4 << (ctr >> shift & 0xf))
        };
        if ctr & CTR_IDC == 0 {
            for line in lines(16) {
                // SAFETY: cleaning changes no memory that a CPU sees.
                unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
            }
        }
        Self::dsb(Dsb::Ish);
        if ctr & CTR_DIC == 0 {
            for line in lines(0) {
                // SAFETY: an instruction that is no longer cached is fetched again.
                unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
            }
            Self::dsb(Dsb::Ish);
        }
        Self::isb();
    }
}

/// CTR_EL0.IDC: data need not be cleaned for instruction fetches.
const CTR_IDC: u64 = 1 << 28;
/// CTR_EL0.DIC: instruction caches need not be invalidated.
const CTR_DIC: u64 = 1 << 29;

/// [`PhysMem::zero`] of what is not whole pages.
fn zero_lines(to: PhysAddr, bytes: u64) {
    let block = zva_block();
    if block == 0 || !to.is_aligned(block) || !bytes.is_multiple_of(block) {
        // SAFETY: RAM that the caller owns, mapped by the linear map.
        unsafe { at::<u8>(to).write_bytes(0, bytes as usize) };
        return;
    }
    let start = linear(to).raw();
    for line in (start..start + bytes).step_by(block as usize) {
        // SAFETY: zeroes one block of RAM that the caller owns; DCZID_EL0 gave size and permission.
        unsafe { asm!("dc zva, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
}

/// Bytes that DC ZVA zeroes, or 0 where it is prohibited (DCZID_EL0: BS in words as a power of two, DZP).
fn zva_block() -> u64 {
    let dczid = read_register!("dczid_el0");
    if dczid & 1 << 4 != 0 { 0 } else { 4 << (dczid & 0xf) }
}
