//! A table that has left its tree with all that is below it, and what its entries hold.
//!
//! ```text
//!   level 1   [ table ]   --break, flush, make-->   [ block ]        the tree goes on
//!                 |
//!   level 2   [ table . table ]                     no walker comes here: it is taken apart without any lock
//!                 |        |
//!   level 3   [ a b c ] [ d . . ]
//! ```
//! Where a subtree is exchanged for one entry, what its entries held need not be given up under the lock of the tree:
//! each still has its reference and its mapping, so to those who ask the page is mapped more often than it is, for as
//! long as that takes, and never less.
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::contiguous::CONT_ENTRIES;
use arch::pte::Kind;
use arch::{Desc, DescTable, Level, Machine, PhysAddr, PhysMem};

use super::table::LooseTable;
use super::unlinked::Displaced;
use crate::Mm;

/// See the [module](self). No TLB holds anything of it, and no walker comes to it.
#[must_use = "what the entries hold is lost otherwise, and the tables"]
pub struct Uprooted {
    table: LooseTable,
    level: Level,
    entries: <Machine as PhysMem>::Table,
}

/// What an entry of an uprooted table held.
pub enum Held {
    /// Nothing that anybody must give up.
    Nothing,
    /// A leaf: its reference and its mapping are the caller's now, and those of the entries after it that go on from
    /// it, so many entries in all.
    Leaves(Desc, usize),
    /// A table of the next level.
    Table(Uprooted),
}

impl Displaced<1> {
    /// The table that the entry led to. `None`: it led to none, and nothing else of it is to be given up.
    #[must_use]
    pub fn uproot(self) -> Option<Uprooted> {
        let [old] = *self.descs();
        let level = self.level();
        let below = level.next().filter(|_| old.kind(level) == Kind::Table)?;
        Some(Uprooted::new(old.output(level), below))
    }
}

impl Uprooted {
    fn new(table: PhysAddr, level: Level) -> Self {
        Uprooted { table: LooseTable::from_flushed(table), level, entries: Machine::table(table) }
    }
    /// Where the table is.
    #[must_use]
    pub fn address(&self) -> PhysAddr {
        self.table.address()
    }
    /// Its level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// What entry `n`, 0..=511, holds is the caller's now. A run of leaves that map consecutive frames with the same
    /// attributes is taken at once.
    pub fn take(&mut self, n: usize) -> Held {
        let first = self.entries.read(n);
        match first.kind(self.level) {
            Kind::Invalid => Held::Nothing,
            Kind::Table => match self.level.next() {
                Some(below) => Held::Table(Uprooted::new(first.output(self.level), below)),
                None => Held::Nothing,
            },
            Kind::Block | Kind::Page => {
                let run = self.run(n, first);
                // A whole table is not looked at again; of a part, ways of counting look at what stands beside it.
                if run < ENTRIES_PER_TABLE {
                    (n..n + run).for_each(|n| self.entries.write(n, Desc::INVALID));
                }
                Held::Leaves(first, run)
            }
        }
    }

    /// How many entries from `n` on go on from each other; `first` stands in entry `n`.
    #[inline(always)]
    fn run(&self, n: usize, first: Desc) -> usize {
        let bytes = self.level.entry_bytes();
        let wanted = |m: usize| first.raw().wrapping_add((m - n) as u64 * bytes);
        let mut m = n;
        while m + CONT_ENTRIES <= ENTRIES_PER_TABLE {
            let (row, mut next, mut differ) = (self.entries.read_still(m), wanted(m), 0);
            for desc in row {
                differ |= desc.raw() ^ next;
                next = next.wrapping_add(bytes);
            }
            if differ != 0 {
                break;
            }
            m += CONT_ENTRIES;
        }
        m + (m..ENTRIES_PER_TABLE).take_while(|&m| self.entries.read(m).raw() == wanted(m)).count() - n
    }

    /// Gives the table back.
    pub fn free(self, mm: &Mm) {
        mm.free_table(self.table);
    }
}
