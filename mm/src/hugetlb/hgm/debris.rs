//! What a collapse has put out of use: tables that no walker comes to, with the references and mappings that their
//! entries had. It is cleared away without a lock, so however much it is, nobody waits for it.
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::{Level, Order, PhysAddr, VirtAddr};

use crate::Mm;
use crate::mapcount::{self, Run};
use crate::page::page_of;
use crate::pgtable::Uprooted;
use crate::pgtable::uprooted::Held;

/// A subtree.
#[must_use = "the references of its entries would never be given up"]
pub(crate) struct Debris {
    table: Uprooted,
    /// The leaf that has taken its place, as it is counted; it says of which folio, space and VMA the entries are.
    leaf: Run,
}

impl Debris {
    pub(super) fn new(table: Uprooted, leaf: Run) -> Self {
        Debris { table, leaf }
    }

    /// Gives up what the entries held, and the tables. No spinlock need be held, nor M.
    pub(crate) fn clear_away(self, mm: &Mm) {
        let Debris { table, leaf } = self;
        // Of a folio of 1 GiB: this is the level-2 table, or stood below it.
        let top = if leaf.level == Level::L1 { table.address() } else { leaf.table };
        clear_table(mm, table, &leaf, (leaf.va, top));
    }
}

/// `va` is the first address that the table translated, `top` the table behind the entry of the folio's own size, if one
/// entry can have that.
fn clear_table(mm: &Mm, mut table: Uprooted, leaf: &Run, (va, top): (VirtAddr, PhysAddr)) {
    let (level, address) = (table.level(), table.address());
    // Where no entry has the folio's size, each table is its own top.
    let top = if leaf.head.order() == Order::PUD { top } else { address };
    let mut n = 0;
    while n < ENTRIES_PER_TABLE {
        let at = va.add(n as u64 * level.entry_bytes());
        n += match table.take(n) {
            Held::Nothing => 1,
            Held::Table(below) => {
                clear_table(mm, below, leaf, (at, top));
                1
            }
            Held::Leaves(first, entries) => {
                let first = page_of(first.output(level).pfn());
                let run = Run { first, entries: entries as u32, level, table: address, top, va: at, ..*leaf };
                mapcount::remove(mm, &run);
                mm.put_references(run.head, run.entries);
                entries
            }
        };
    }
    table.free(mm);
}
