//! What a collapse has put out of use: tables that no walker comes to, with the references and mappings that their
//! entries had. It is cleared away without a lock, so however much it is, nobody waits for it.
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::{Level, Order, PhysAddr, VirtAddr};

use crate::Mm;
use crate::mapcount::{Leaving, Run};
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
        let (va, head) = (leaf.va, leaf.head);
        let mut clearing = Clearing { mm, leaf, counts: Leaving::new(mm), references: 0 };
        clearing.table(table, va, top);
        let Clearing { counts, references, .. } = clearing;
        counts.finish();
        if references != 0 {
            mm.put_references(head, references);
        }
    }
}

struct Clearing<'m> {
    mm: &'m Mm,
    leaf: Run,
    counts: Leaving,
    /// As many as the page can have pages.
    references: u32,
}

impl Clearing<'_> {
    /// `va` is the first address that the table translated, `top` the table behind the entry of the folio's own size, if
    /// one entry can have that.
    fn table(&mut self, mut table: Uprooted, va: VirtAddr, top: PhysAddr) {
        let (level, address) = (table.level(), table.address());
        // Where no entry has the folio's size, each table is its own top.
        let top = if self.leaf.head.order() == Order::PUD { top } else { address };
        let mut n = 0;
        while n < ENTRIES_PER_TABLE {
            let va = va.add(n as u64 * level.entry_bytes());
            n += match table.take(n) {
                Held::Nothing => 1,
                Held::Table(below) => {
                    self.table(below, va, top);
                    1
                }
                Held::Leaves(first, run) => {
                    let (first, entries) = (page_of(first.output(level).pfn()), run as u32);
                    self.counts.push(&Run { first, entries, level, table: address, top, va, ..self.leaf });
                    self.references += entries;
                    run
                }
            };
        }
        table.free(self.mm);
    }
}
