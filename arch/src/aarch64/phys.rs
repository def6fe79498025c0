//! Physical memory through the linear map.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Machine;
use crate::addr::PhysAddr;
use crate::contract::{Dsb, Mmu, PhysMem};
use crate::features::BbmLevel;
use crate::layout::{LINEAR_BYTES, linear};
use crate::pte::{Desc, PteFlags};

/// The linear-map address of `pa` as a pointer.
#[inline(always)]
fn at<T>(pa: PhysAddr) -> *mut T {
    debug_assert!(pa.raw() < LINEAR_BYTES, "{pa} is above the linear map");
    core::ptr::with_exposed_provenance_mut(linear(pa).raw() as usize)
}

/// The descriptor at `pa`, as the atomic word that walkers and other CPUs read.
#[inline(always)]
fn slot(pa: PhysAddr) -> &'static AtomicU64 {
    assert!(pa.is_aligned(8), "a descriptor at {pa}");
    // SAFETY: aligned; RAM of the linear map is mapped for ever (contract), and page tables are accessed as
    // atomic words only.
    unsafe { AtomicU64::from_ptr(at(pa)) }
}

/// What can be said of a store without knowing level and contents: with FEAT_BBM below level 2 a live
/// descriptor never changes between table or page and block, and a live leaf keeps its memory type
/// (R_WHZWS; see `bbm`). In a table descriptor these bits are ignored, and mm leaves them zero.
fn check_store(at: PhysAddr, old: Desc, new: Desc) {
    if !(old.is_valid() && new.is_valid()) {
        return;
    }
    let changed = old.raw() ^ new.raw();
    let type_bit = PteFlags::TABLE_OR_PAGE.bits();
    assert!(
        changed & type_bit == 0 || Machine::features().bbm >= BbmLevel::Level2,
        "descriptor at {at}: {old} became {new} without break-before-make: the size changed"
    );
    let memory = PteFlags::ATTR_INDEX.union(PteFlags::SHAREABILITY).bits();
    assert!(
        changed & type_bit != 0 || changed & memory == 0,
        "descriptor at {at}: {old} became {new} without break-before-make: the memory type changed"
    );
}

impl PhysMem for Machine {
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

    /// By DC ZVA where the CPU allows it and the range is a multiple of its block, else by stores.
    fn zero(to: PhysAddr, bytes: u64) {
        debug_assert!(to.is_aligned(64) && bytes % 64 == 0, "zero {bytes} bytes at {to}");
        let block = zva_block();
        if block == 0 || !to.is_aligned(block) || bytes % block != 0 {
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

    fn copy(to: PhysAddr, from: PhysAddr, bytes: u64) {
        // SAFETY: two ranges of RAM that do not overlap (contract), mapped by the linear map.
        unsafe { core::ptr::copy_nonoverlapping(at::<u8>(from).cast_const(), at::<u8>(to), bytes as usize) };
    }

    fn equal(a: PhysAddr, b: PhysAddr, bytes: u64) -> bool {
        // SAFETY: RAM, mapped by the linear map; the caller sees to it that nobody writes meanwhile.
        let [a, b] =
            [a, b].map(|pa| unsafe { core::slice::from_raw_parts(at::<u8>(pa).cast_const(), bytes as usize) });
        a == b
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

    /// The sequence for any CPU; CTR_EL0.{IDC,DIC} could only shorten it. 16 bytes is the smallest line that
    /// CTR_EL0.DminLine can name in practice, and cleaning a line twice changes nothing.
    fn sync_icache(at: PhysAddr, bytes: u64) {
        let start = linear(at).raw();
        for line in (start..start + bytes).step_by(16) {
            // SAFETY: cleaning a line changes no memory that a CPU sees; the linear map covers all RAM.
            unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
        Self::dsb(Dsb::Ish);
        // SAFETY: drops instructions that are fetched anew.
        unsafe { asm!("ic ialluis", options(nostack, preserves_flags)) };
        Self::dsb(Dsb::Ish);
        Self::isb();
    }
}

/// Bytes that DC ZVA zeroes, or 0 where it is prohibited (DCZID_EL0: BS in words as a power of two, DZP).
fn zva_block() -> u64 {
    let dczid: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, dczid_el0", out(reg) dczid, options(nomem, nostack, preserves_flags)) };
    if dczid & 1 << 4 != 0 { 0 } else { 4 << (dczid & 0xf) }
}
