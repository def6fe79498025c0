//! What a collapse has put out of use: tables that no walker comes to, with the references and mappings that their
//! entries had. It is cleared away without a lock, so however much it is, nobody waits for it.
//!
//! **Counts without T.** Ways of counting that have all they keep in the folio take a removal at any time. Those that look
//! at tables look at the one of the entries, which has left the tree ([`crate::mapcount::vma_pt`]), or at the struct
//! page of the table behind the top entry (`mapcount::top`). That one has left the tree too where all of a folio of 1
//! GiB is collapsed; where 2 MiB of it are, it stays in the tree, and whoever has T may write it. So those are counted
//! under T,
//! 512 entries at most, as the exchange is made.
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::{Level, Order, PhysAddr, VirtAddr};

use crate::Mm;
use crate::mapcount::{self, Leaving, Place, Run};
use crate::page::page_of;
use crate::pgtable::Uprooted;
use crate::pgtable::uprooted::Held;

/// A subtree.
#[must_use = "the references of its entries would never be given up"]
pub(crate) struct Debris {
    table: Uprooted,
    /// The leaf that has taken its place, as it is counted; it says of which folio, space and VMA the entries are.
    leaf: Run,
    left: Left,
}

/// What is to be given up beside the table.
#[derive(Clone, Copy)]
enum Left {
    /// All that its entries hold.
    Entries,
    /// So many references: the entries are counted no more.
    References(u32),
}

impl Debris {
    /// The table whose place `leaf` has taken. Under T.
    pub(super) fn new(mm: &Mm, mut table: Uprooted, leaf: Run) -> Self {
        let top_stays = leaf.head.order() == Order::PUD && leaf.level != Level::L1;
        let left = match mapcount::scheme(mm).place() {
            Place::Counts if top_stays => Left::References(uncount(mm, &mut table, &leaf, leaf.table)),
            Place::Counts | Place::Anywhere => Left::Entries,
        };
        Debris { table, leaf, left }
    }

    /// Gives up what the entries held, and the tables. No spinlock need be held, nor M.
    pub(crate) fn clear_away(self, mm: &Mm) {
        let Debris { mut table, leaf, left } = self;
        let top = table.address();
        let references = match left {
            Left::References(references) => references,
            Left::Entries => uncount(mm, &mut table, &leaf, top),
        };
        table.free(mm);
        if references != 0 {
            mm.put_references(leaf.head, references);
        }
    }
}

/// Takes the mappings of all entries below a table off, and frees the tables below it. `top` is the table behind the
/// entry of the folio's own size, if one entry can have that. Returns how many references the entries had.
fn uncount(mm: &Mm, table: &mut Uprooted, leaf: &Run, top: PhysAddr) -> u32 {
    let mut clearing = Clearing { mm, leaf: *leaf, counts: Leaving::new(mm), references: 0 };
    clearing.table(table, leaf.va, top);
    clearing.counts.finish();
    clearing.references
}

struct Clearing<'m> {
    mm: &'m Mm,
    leaf: Run,
    counts: Leaving,
    /// As many as the page can have pages.
    references: u32,
}

impl Clearing<'_> {
    /// `va` is the first address that the table translated.
    fn table(&mut self, table: &mut Uprooted, va: VirtAddr, top: PhysAddr) {
        let (level, address) = (table.level(), table.address());
        // Where no entry has the folio's size, each table is its own top.
        let top = if self.leaf.head.order() == Order::PUD { top } else { address };
        let mut n = 0;
        while n < ENTRIES_PER_TABLE {
            let va = va.add(n as u64 * level.entry_bytes());
            n += match table.take(n) {
                Held::Nothing => 1,
                Held::Table(mut below) => {
                    self.table(&mut below, va, top);
                    below.free(self.mm);
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
    }
}
