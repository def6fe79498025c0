//! Where a check works, and how it leaves no trace.

use super::{Check, Failure};
use crate::Machine;
use crate::addr::{Asid, ENTRIES_PER_TABLE, Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{Cpu, Dsb, FlushScope, Mmu, PhysMem, Tlbi};
use crate::pte::{Desc, Kind, PteFlags};

/// A user address that checks map in roots of their own: 256 GiB, 2 MiB aligned.
pub(super) const USER_VA: VirtAddr = VirtAddr::new(0x40_0000_0000);

/// Entries that a check may make in tables other than level 3.
const MAX_MADE: usize = 32;

/// What the checks work with.
///
/// The caller lends it all: while the arena lives nobody else uses the pages and the ASIDs, maps anything
/// in the window, or changes a descriptor above it.
pub struct Arena<'a> {
    window: VirtAddr,
    pages: &'a [PhysAddr],
    asids: [Asid; 2],
    /// Pages of `pages` in use.
    used: usize,
    /// Descriptors above level 3 that were made, in order.
    made: [PhysAddr; MAX_MADE],
    made_len: usize,
}

impl<'a> Arena<'a> {
    /// Pages that the checks need.
    pub const PAGES: usize = 20;
    /// Bytes of the window.
    pub const WINDOW_BYTES: u64 = 4 << 20;

    /// An arena of at least [`Self::PAGES`] free pages, the unused kernel addresses from `window`
    /// ([`Self::WINDOW_BYTES`] bytes, 2 MiB aligned) and two different unused ASIDs.
    ///
    /// # Errors
    /// [`Failure::Arena`]: something is too small, unaligned, or in use.
    pub fn new(window: VirtAddr, pages: &'a [PhysAddr], asids: [Asid; 2]) -> Result<Self, Failure> {
        if pages.len() < Self::PAGES {
            return Err(Failure::Arena("too few pages"));
        }
        if !pages.iter().all(|page| page.is_aligned(PAGE_SIZE)) {
            return Err(Failure::Arena("a page is not aligned"));
        }
        if !window.is_kernel() || !window.is_aligned(Level::L2.entry_bytes()) {
            return Err(Failure::Arena("the window is no 2 MiB aligned kernel address"));
        }
        if asids[0] == asids[1] || asids.contains(&Asid::NONE) {
            return Err(Failure::Arena("the ASIDs are not two, or reserved"));
        }
        Ok(Arena { window, pages, asids, used: 0, made: [PhysAddr::new(0); MAX_MADE], made_len: 0 })
    }

    /// Runs a check with interrupts masked and takes its traces away, whatever its verdict.
    ///
    /// # Errors
    /// The check's.
    pub fn run(&mut self, check: &Check) -> Result<(), Failure> {
        let irqs = Machine::mask_irqs();
        let user_root = Machine::user_root();
        let verdict = (check.1)(self);
        Machine::set_user_root(user_root);
        while self.made_len > 0 {
            self.made_len -= 1;
            Machine::write_desc(self.made[self.made_len], Desc::INVALID);
        }
        flush(Tlbi::All, FlushScope::Broadcast);
        self.used = 0;
        Machine::restore_irqs(irqs);
        verdict
    }

    /// First address of the window.
    pub(super) fn window(&self) -> VirtAddr {
        self.window
    }

    /// The two ASIDs.
    pub(super) fn asids(&self) -> [Asid; 2] {
        self.asids
    }

    /// A page of zeros.
    pub(super) fn page(&mut self) -> Result<PhysAddr, Failure> {
        let Some(&page) = self.pages.get(self.used) else { return Err(Failure::Arena("out of pages")) };
        self.used += 1;
        Machine::zero(page, PAGE_SIZE);
        Ok(page)
    }

    /// Where the descriptor of `level` for `va` stands under `root`; missing tables are made.
    pub(super) fn entry(&mut self, root: PhysAddr, va: VirtAddr, level: Level) -> Result<PhysAddr, Failure> {
        let mut table = root;
        for above in Level::ALL.into_iter().take_while(|&above| above < level) {
            let at = table.add(8 * va.index(above) as u64);
            if Machine::read_desc(at).kind(above) == Kind::Invalid {
                let new = self.page()?;
                self.make(at, Desc::table(new), above)?;
            }
            let desc = Machine::read_desc(at);
            if desc.kind(above) != Kind::Table {
                return Err(Failure::Arena("a block stands in the way"));
            }
            table = desc.output(above);
        }
        Ok(table.add(8 * va.index(level) as u64))
    }

    /// Makes a descriptor where none is valid: store; DSB ISHST; ISB.
    pub(super) fn make(&mut self, at: PhysAddr, new: Desc, level: Level) -> Result<(), Failure> {
        if Machine::read_desc(at).kind(level) != Kind::Invalid {
            return Err(Failure::Arena("an entry is in use"));
        }
        if level != Level::L3 && !self.made[..self.made_len].contains(&at) {
            let Some(free) = self.made.get_mut(self.made_len) else {
                return Err(Failure::Arena("out of entries"));
            };
            *free = at;
            self.made_len += 1;
        }
        Machine::write_desc(at, new);
        Machine::dsb(Dsb::IshSt);
        Machine::isb();
        Ok(())
    }

    /// Maps `pa` at `va` of the kernel's half by one leaf of `level`; returns where it stands.
    pub(super) fn map(
        &mut self,
        va: VirtAddr,
        pa: PhysAddr,
        level: Level,
        flags: PteFlags,
    ) -> Result<PhysAddr, Failure> {
        self.map_under(Machine::kernel_root(), va, pa, level, flags)
    }

    /// A new user root that maps `pa` at [`USER_VA`] by one page; returns root and descriptor.
    pub(super) fn user(&mut self, pa: PhysAddr, flags: PteFlags) -> Result<(PhysAddr, PhysAddr), Failure> {
        let root = self.page()?;
        Ok((root, self.map_under(root, USER_VA, pa, Level::L3, flags)?))
    }

    fn map_under(
        &mut self,
        root: PhysAddr,
        va: VirtAddr,
        pa: PhysAddr,
        level: Level,
        flags: PteFlags,
    ) -> Result<PhysAddr, Failure> {
        let at = self.entry(root, va, level)?;
        self.make(at, Desc::leaf(pa, level, flags), level)?;
        Ok(at)
    }

    /// Fills a new table, linked nowhere, with pages of the 2 MiB from `pa`.
    pub(super) fn page_table(&mut self, pa: PhysAddr, flags: PteFlags) -> Result<PhysAddr, Failure> {
        let table = self.page()?;
        for n in 0..ENTRIES_PER_TABLE as u64 {
            Machine::write_desc(table.add(8 * n), Desc::leaf(pa.add(n * PAGE_SIZE), Level::L3, flags));
        }
        Ok(table)
    }
}

/// The whole of a flush: order the stores, ask, wait, synchronise.
pub(super) fn flush(op: Tlbi, scope: FlushScope) {
    let (before, after) = match scope {
        FlushScope::Broadcast => (Dsb::IshSt, Dsb::Ish),
        FlushScope::Local => (Dsb::Nsh, Dsb::Nsh),
    };
    Machine::dsb(before);
    Machine::tlbi(op, scope);
    Machine::dsb(after);
    Machine::isb();
}
