//! Which pages of RAM are tables that hardware may walk.
//!
//! A page becomes a table when its root is installed or when a table descriptor that points to it is stored into a
//! table. It remains one for as long as a walk can get to it: from a root that a vCPU has installed, or from a
//! descriptor that a vCPU still holds. The question is asked only when a store looks wrong, so marks may be
//! out of date; [`Tables::can_be_walked`] is exact for what this machine's TLBs hold.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use super::machine::{State, lock};
use crate::addr::{ENTRIES_PER_TABLE, Level, PAGE_SHIFT, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::pte::Kind;

/// A page that is or was a table.
#[derive(Clone, Copy)]
pub(super) struct Table {
    pub(super) level: Level,
    /// The first address that it translates.
    pub(super) va: VirtAddr,
    /// The descriptor that points to it; `None` for a root.
    parent: Option<PhysAddr>,
}

impl Table {
    /// The first address that the descriptor at `at` in this table translates.
    pub(super) fn va_of(&self, at: PhysAddr) -> VirtAddr {
        let index = (at.raw() % PAGE_SIZE) / 8;
        self.va.add(index * self.level.entry_bytes())
    }
}

/// The tables of a machine.
pub(super) struct Tables {
    base: PhysAddr,
    /// Per page of RAM: 1 where `tables` may know it, so that other stores cost one load.
    marks: Box<[AtomicU8]>,
    tables: Mutex<HashMap<PhysAddr, Table>>,
}

impl Tables {
    pub(super) fn new(base: PhysAddr, bytes: u64) -> Self {
        let marks = (0..bytes >> PAGE_SHIFT).map(|_| AtomicU8::new(0)).collect();
        Tables { base, marks, tables: Mutex::default() }
    }

    fn mark(&self, page: PhysAddr) -> Option<&AtomicU8> {
        let offset = page.raw().checked_sub(self.base.raw())?;
        self.marks.get((offset >> PAGE_SHIFT) as usize)
    }

    fn set_mark(&self, page: PhysAddr, to: u8) {
        if let Some(mark) = self.mark(page) {
            mark.store(to, Ordering::Release);
        }
    }

    /// The table that `at` lies in.
    pub(super) fn of(&self, at: PhysAddr) -> Option<Table> {
        let page = at.align_down(PAGE_SIZE);
        match self.mark(page)?.load(Ordering::Acquire) {
            0 => None,
            _ => lock(&self.tables).get(&page).copied(),
        }
    }

    /// Takes notice of a root that is about to be installed for the half that begins at `va`.
    pub(super) fn install(&self, state: &State, root: PhysAddr, va: VirtAddr) {
        let known = self.of(root).is_some_and(|table| table.level == Level::L0);
        if !known {
            self.adopt(state, root, Table { level: Level::L0, va, parent: None });
        }
    }

    /// Takes notice of a table descriptor that stands at `at` in `parent`, and of all tables below it.
    pub(super) fn link(&self, state: &State, parent: &Table, at: PhysAddr) {
        let desc = state.ram.load(at);
        let Some(level) = parent.level.next().filter(|_| desc.kind(parent.level) == Kind::Table) else {
            return;
        };
        let page = desc.output(parent.level);
        if state.ram.contains(page, PAGE_SIZE) {
            self.adopt(state, page, Table { level, va: parent.va_of(at), parent: Some(at) });
        }
    }

    fn adopt(&self, state: &State, page: PhysAddr, table: Table) {
        lock(&self.tables).insert(page, table);
        self.set_mark(page, 1);
        if table.level != Level::L3 {
            for index in 0..ENTRIES_PER_TABLE as u64 {
                self.link(state, &table, page.add(8 * index));
            }
        }
    }

    /// Whether a walk on some vCPU can get to the table in `page`. If not, it and what is above it are tables
    /// no more.
    pub(super) fn can_be_walked(&self, state: &State, page: PhysAddr) -> bool {
        let mut dead = Vec::new();
        let mut next = Some(page);
        while let Some(page) = next {
            let known = lock(&self.tables).get(&page).copied();
            let Some(table) = known else { break };
            if is_root(state, page) || is_held(state, page) {
                return true;
            }
            dead.push(page);
            next = table.parent.filter(|&at| points_to(state, at, page)).map(|at| at.align_down(PAGE_SIZE));
        }
        for page in dead {
            self.set_mark(page, 0);
            lock(&self.tables).remove(&page);
        }
        false
    }
}

/// Whether a vCPU has installed the root in `page`.
fn is_root(state: &State, page: PhysAddr) -> bool {
    state
        .vcpus()
        .any(|vcpu| vcpu.kernel_root == Some(page) || vcpu.user_root.is_some_and(|(root, _)| root == page))
}

/// Whether a vCPU holds a descriptor that stands in `page` or points to it as a table.
fn is_held(state: &State, page: PhysAddr) -> bool {
    state.vcpus().any(|vcpu| {
        vcpu.tlb.iter().any(|held| {
            held.source.align_down(PAGE_SIZE) == page
                || (held.is_table() && held.desc.output(held.level) == page)
        })
    })
}

/// Whether the descriptor at `at` still points to the table in `page`.
fn points_to(state: &State, at: PhysAddr, page: PhysAddr) -> bool {
    let desc = state.ram.load(at);
    desc.kind(Level::L0) == Kind::Table && desc.output(Level::L0) == page
}
