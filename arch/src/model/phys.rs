//! Physical memory's half of the contract.

use super::Machine;
use super::bind::current;
use super::counters::Tally;
use super::judge::{self, How, Stored};
use super::reuse;
use super::step::{Step, before};
use super::walker::speculate;
use crate::addr::{ENTRIES_PER_TABLE, PAGE_SIZE, PhysAddr};
use crate::contract::{DescTable, PhysMem};
use crate::pte::Desc;

/// The descriptors of a table.
#[derive(Clone, Copy, Debug)]
pub struct Table(PhysAddr);

impl Table {
    fn slot(self, n: usize) -> PhysAddr {
        assert!(n < ENTRIES_PER_TABLE, "model: descriptor {n} of a table");
        self.0.add(8 * n as u64)
    }
}

impl DescTable for Table {
    #[track_caller]
    fn read(self, n: usize) -> Desc {
        Machine::read_desc(self.slot(n))
    }

    #[track_caller]
    fn write(self, n: usize, new: Desc) {
        Machine::write_desc(self.slot(n), new);
    }
}

impl PhysMem for Machine {
    type Table = Table;

    #[track_caller]
    fn table(at: PhysAddr) -> Table {
        assert!(at.is_aligned(PAGE_SIZE), "model: a table at {at}");
        Table(at)
    }

    #[track_caller]
    fn read_desc(at: PhysAddr) -> Desc {
        current(|state, cpu| {
            before(state, cpu, Step::Read(at));
            state.ram.load(at)
        })
    }

    #[track_caller]
    fn write_desc(at: PhysAddr, new: Desc) {
        current(|state, cpu| {
            before(state, cpu, Step::Store { at, new });
            let old = state.ram.swap(at, new);
            Tally::add(&state.tally.desc_stores);
            judge::stored(state, &mut state.regime(), Stored { cpu, at, old, new, how: How::Plain });
        });
    }

    #[track_caller]
    fn cas_desc(at: PhysAddr, old: Desc, new: Desc) -> Result<(), Desc> {
        current(|state, cpu| {
            before(state, cpu, Step::Cas { at, old, new });
            speculate(state, &state.regime(), at);
            state.ram.cas(at, old, new)?;
            Tally::add(&state.tally.desc_stores);
            judge::stored(state, &mut state.regime(), Stored { cpu, at, old, new, how: How::Swap });
            Ok(())
        })
    }

    #[track_caller]
    fn zero(at: PhysAddr, bytes: u64) {
        assert!(at.is_aligned(64) && bytes.is_multiple_of(64), "model: zero of {bytes} bytes at {at}");
        current(|state, cpu| {
            before(state, cpu, Step::Zero { at, bytes });
            reuse::filled(state, &mut state.regime(), cpu, at, bytes);
            state.ram.zero(at, bytes);
        });
    }

    #[track_caller]
    fn fill(at: PhysAddr, bytes: u64, words: [u64; 2]) {
        Self::zero(at, bytes);
        let line = words.map(u64::to_ne_bytes);
        current(|state, _| {
            (0..bytes / 64).for_each(|n| state.ram.write(at.add(64 * n), line.as_flattened()))
        });
    }

    #[track_caller]
    fn copy(to: PhysAddr, from: PhysAddr, bytes: u64) {
        current(|state, cpu| {
            before(state, cpu, Step::Copy { to, from, bytes });
            reuse::filled(state, &mut state.regime(), cpu, to, bytes);
            state.ram.copy(to, from, bytes);
        });
    }

    fn equal(a: PhysAddr, b: PhysAddr, bytes: u64) -> bool {
        current(|state, _| state.ram.same(a, b, bytes))
    }

    fn read_bytes(from: PhysAddr, into: &mut [u8]) {
        current(|state, _| state.ram.read(from, into));
    }

    fn write_bytes(to: PhysAddr, from: &[u8]) {
        current(|state, cpu| {
            reuse::written(state, &mut state.regime(), cpu, to, from.len() as u64);
            state.ram.write(to, from);
        });
    }

    fn released(at: PhysAddr, bytes: u64) {
        current(|state, cpu| reuse::released(state, &mut state.regime(), cpu, at, bytes));
    }

    /// Caches are not modelled: fetches see memory.
    fn sync_icache(at: PhysAddr, bytes: u64) {
        assert!(at.is_aligned(64) && bytes.is_multiple_of(64), "model: icache of {bytes} bytes at {at}");
    }
}
