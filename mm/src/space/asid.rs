//! ASIDs: which number tags the translations of an address space, so that a switch flushes nothing.
//!
//! There are 2^8 or 2^16 of them and any number of address spaces, so they are given in *generations*. An
//! address space keeps its ASID for one generation. When all are given, a new generation begins: everybody
//! needs a new one at the next switch, and each CPU drops its whole TLB once before it runs the new
//! generation, as what it holds is tagged with numbers that now mean somebody else.
//!
//! ```text
//!   generation 1:  1 2 3 ... 255 | rollover | generation 2:  1 2 3 ...
//!   CPU 0 runs space P (ASID 7) all along:  7 is reserved, not given again, still P's in generation 2
//!   CPU 1 switches to Q: slow path, drops its TLB, Q gets ASID 1
//! ```
//! **A CPU that keeps running during a rollover** goes on with the old number. That number is *reserved*: not
//! given in the new generation, and still that space's own when it is next switched to. So no two spaces that
//! run at one time share an ASID, and a translation that was made before a rollover is used only by the space
//! it was made for, or dropped.
//!
//! **The fast path** takes no lock: the CPU's slot in `active` still holds an ASID (nobody rolled over since)
//! and the space's ASID is of this generation. A rollover empties the slot by an atomic swap, so either the
//! rollover sees what the CPU runs, or the CPU sees that its slot is empty and takes the lock (the scheme of
//! Linux's arch/arm64/mm/context.c; there the free numbers are a bitmap, here a counter, as none is given
//! back before the next rollover).
//!
//! The flush at a rollover is local to each CPU (TLBI VMALLE1; DSB NSH) and pending until it switches, so the
//! lock is never held across a broadcast. The Arm ARM asks for it before an ASID is used for another address
//! space (D8.16.4, "ASID and TLB maintenance").
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::contract::MAX_CPUS;
use arch::sync::SpinLock;
use arch::{Asid, Cpu, Dsb, FlushScope, Machine, Mmu, Tlbi};

use super::AddressSpace;
use crate::Mm;
use crate::locks;
use crate::pgtable::AsidCell;
use crate::stats::{Counter, Stats};
use crate::trace::Point;

/// Bits of an [`AsidCell`] that hold the number; the generation stands above them.
const NUMBER_BITS: u32 = 16;
const FIRST_GENERATION: u64 = 1 << NUMBER_BITS;

/// Gives ASIDs and the numbers of address spaces.
pub struct Asids {
    /// Width of an ASID, 8 or 16.
    bits: u8,
    /// The present generation, in the bits of an [`AsidCell`]. Written under A.
    generation: AtomicU64,
    /// What each CPU runs, generation and number; 0: nothing since the last rollover. A CPU writes its own
    /// slot without the lock while it is not 0; else under A.
    active: [AtomicU64; MAX_CPUS],
    /// The number of the next address space.
    next_space: AtomicU64,
    state: SpinLock<State>,
}

/// Protected by A.
#[derive(Debug)]
struct State {
    /// The next number to give; 2^bits: none is left.
    next: u32,
    /// What each CPU ran when the generation began, and may run still.
    reserved: [u64; MAX_CPUS],
    /// CPU n drops its TLB before it runs this generation.
    flush_pending: [Pending; MAX_CPUS],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pending {
    Nothing,
    Flush,
}

impl Asids {
    /// All of `bits` (8 or 16) wide ASIDs are free.
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        assert!(bits == 8 || bits == 16, "an ASID has 8 or 16 bits");
        let state = State { next: 1, reserved: [0; MAX_CPUS], flush_pending: [Pending::Nothing; MAX_CPUS] };
        Asids {
            bits,
            generation: AtomicU64::new(FIRST_GENERATION),
            active: [const { AtomicU64::new(0) }; MAX_CPUS],
            next_space: AtomicU64::new(1),
            state: SpinLock::new(locks::ASIDS, state),
        }
    }

    /// A number that no address space had before; never 0.
    pub(super) fn next_space_id(&self) -> u64 {
        self.next_space.fetch_add(1, Ordering::Relaxed)
    }

    /// An ASID under which this CPU may run the space from now on. Interrupts are masked until TTBR0 is
    /// written.
    fn acquire(&self, cell: &AsidCell, stats: &Stats) -> Asid {
        let slot = &self.active[Machine::id().index()];
        let mine = cell.raw();
        let ran = slot.load(Ordering::SeqCst);
        Machine::interleave();
        let fresh = mine >> NUMBER_BITS == self.generation.load(Ordering::SeqCst) >> NUMBER_BITS;
        Machine::interleave();
        let swap = || slot.compare_exchange(ran, mine, Ordering::SeqCst, Ordering::SeqCst);
        if ran != 0 && fresh && swap().is_ok() {
            return cell.asid();
        }
        self.acquire_slow(cell, slot, stats)
    }

    #[cold]
    fn acquire_slow(&self, cell: &AsidCell, slot: &AtomicU64, stats: &Stats) -> Asid {
        let mut state = self.state.lock();
        let generation = self.generation.load(Ordering::SeqCst);
        if cell.raw() >> NUMBER_BITS != generation >> NUMBER_BITS {
            let raw = self.give(&mut state, cell.raw(), stats);
            cell.set_raw(raw);
        }
        let pending = &mut state.flush_pending[Machine::id().index()];
        if core::mem::replace(pending, Pending::Nothing) == Pending::Flush {
            Machine::tlbi(Tlbi::All, FlushScope::Local);
            Machine::dsb(Dsb::Nsh);
            stats.note(Point::TlbiAll, 1, || [0; 4]);
        }
        slot.store(cell.raw(), Ordering::SeqCst);
        drop(state);
        // A flusher that did not see the new number has made its stores visible before the walks under it
        // begin.
        Machine::dsb(Dsb::Ish);
        cell.asid()
    }

    /// A generation and number for the space that had `old`.
    fn give(&self, state: &mut State, old: u64, stats: &Stats) -> u64 {
        if let Some(kept) = self.keep_reserved(state, old) {
            return kept;
        }
        loop {
            if state.next >> self.bits != 0 {
                self.roll_over(state, stats);
            }
            let number = u64::from(state.next);
            state.next += 1;
            let reserved = |raw: &u64| *raw != 0 && number_of(*raw) == number;
            if !state.reserved.iter().any(reserved) {
                return self.generation.load(Ordering::SeqCst) | number;
            }
        }
    }

    /// Where a CPU ran the space at the rollover, the space keeps its number in the new generation. Every
    /// slot is looked at: two CPUs may have run two threads of it.
    fn keep_reserved(&self, state: &mut State, old: u64) -> Option<u64> {
        let kept = self.generation.load(Ordering::SeqCst) | number_of(old);
        let slots = state.reserved.iter_mut().filter(|raw| old != 0 && **raw == old);
        slots.fold(None, |_, raw| {
            *raw = kept;
            Some(kept)
        })
    }

    /// Begins a generation.
    fn roll_over(&self, state: &mut State, stats: &Stats) {
        self.generation.fetch_add(FIRST_GENERATION, Ordering::SeqCst);
        for (slot, reserved) in self.active.iter().zip(&mut state.reserved) {
            Machine::interleave();
            let ran = slot.swap(0, Ordering::SeqCst);
            // A slot that was emptied by the rollover before and not filled since: the CPU still runs what it
            // ran then.
            if ran != 0 {
                *reserved = ran;
            }
        }
        state.flush_pending = [Pending::Flush; MAX_CPUS];
        state.next = 1;
        stats.inc(Counter::AsidRollover);
    }
}

const fn number_of(raw: u64) -> u64 {
    raw & (FIRST_GENERATION - 1)
}

impl Mm {
    /// Makes the user half of this CPU that of `space`, or empty. Flushes nothing but at an ASID rollover.
    /// Called with interrupts masked or by a thread that stays on its CPU; no lock of rank 65 or above is
    /// held.
    pub fn activate_space(&self, space: Option<&AddressSpace>) {
        let irq = Machine::mask_irqs();
        match space {
            Some(space) => {
                let asid = self.asids.acquire(&space.asid, &self.stats);
                Machine::set_user_root(Some((space.root(), asid)));
            }
            None => Machine::set_user_root(None),
        }
        Machine::restore_irqs(irq);
    }
}
