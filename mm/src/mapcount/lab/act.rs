//! What is done to mappings, as a live tree would do it: entries and counts.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::PteFlags;
use arch::{Desc, Level, Machine, Order, PhysAddr, PhysMem, VirtAddr};

use super::{Lab, LabSpace};
use crate::error::OutOfMemory;
use crate::mapcount::{Boundary, Run};
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::walk::is_empty;

/// How entries are cleared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clear {
    /// By who also frees the tables: munmap, exit.
    Remove,
    /// From the folio, tables stay: truncation, migration.
    Zap,
}

/// The leaf of a level for a page.
fn leaf(page: PageRef, level: Level) -> Desc {
    Desc::leaf(page.pfn().phys(), level, PteFlags::USER_RO)
}

/// The order of what one entry of the level maps.
fn order_of(level: Level) -> Order {
    match level {
        Level::L0 | Level::L1 => Order::PUD,
        Level::L2 => Order::PMD,
        Level::L3 => Order::PAGE,
    }
}

fn read(table: PhysAddr, n: usize) -> Desc {
    Machine::read_desc(table.add(8 * n as u64))
}

impl Lab<'_> {
    fn space(&mut self, s: usize) -> Option<&mut LabSpace> {
        self.spaces[s].as_mut()
    }

    /// The folio of which this is a page, by its place in the lab.
    #[must_use]
    pub fn folio_of(&self, page: PageRef) -> Option<usize> {
        let holds = |head: PageRef, pages| page >= head && page < head.nth(pages);
        self.folios.iter().position(|folio| folio.as_ref().is_some_and(|f| holds(f.head, f.pages())))
    }

    /// The run that begins at `va` in space `s` and ends before `end`: as long as it can be.
    #[must_use]
    pub fn run_at(&self, s: usize, va: VirtAddr, end: VirtAddr) -> Option<Run> {
        let space = self.spaces[s].as_ref()?;
        let step = space.tree.walk(va).leaf()?;
        let level = step.level;
        let first = page_of(step.desc.output(level).pfn());
        let folio = self.folios[self.folio_of(first)?].as_ref()?;
        let (head, vma) = (folio.head, space.vmas.around(va));
        let table = PhysAddr::new(step.slot.raw() & !(PAGE_SIZE - 1));
        let (at, pages) = (va.index(level), level.entry_bytes() / PAGE_SIZE);
        let limit = end.min(vma.1).offset_from(va).div_ceil(level.entry_bytes()) as usize;
        let most = limit.min(ENTRIES_PER_TABLE - at);
        let goes_on = |&n: &usize| {
            let page = first.nth(n as u64 * pages);
            page < head.nth(folio.pages()) && read(table, at + n) == leaf(page, level)
        };
        let entries = (0..most).take_while(goes_on).count() as u32;
        let top = match head.order() == Order::PUD && level == Level::L3 {
            true => space.table(va, Level::L2)?,
            false => table,
        };
        let owner = self.owner(s)?;
        Some(Run { head, first, entries, level, table, top, va, space: s as u64, owner, vma })
    }

    fn place(&mut self, s: usize, first: PageRef, pages: u64) {
        let Some(f) = self.folio_of(first) else { return };
        if let Some(folio) = self.folios[f].as_mut() {
            let from = first.pfn().offset_from(folio.head.pfn()) as usize;
            folio.placed[from..from + pages as usize].iter_mut().for_each(|mask| *mask |= 1 << s);
        }
    }

    /// The run's pages are no more in the space; a page of an object may still be, elsewhere.
    fn unplace(&mut self, s: usize, run: &Run) {
        let Some(f) = self.folio_of(run.first) else { return };
        if let Some(folio) = self.folios[f].as_mut() {
            let from = run.first.pfn().offset_from(folio.head.pfn()) as usize;
            folio.placed[from..from + run.pages() as usize].iter_mut().for_each(|mask| *mask &= !(1 << s));
        }
    }

    /// Makes page entries for `pages` pages of folio `f`, from page `first` on, at `va` and following; where something
    /// is mapped already, or the page is, there is none. Returns how many were made.
    ///
    /// # Errors
    /// [`OutOfMemory`], for tables; what was made stays.
    pub fn map(
        &mut self,
        s: usize,
        va: VirtAddr,
        f: usize,
        first: u64,
        pages: u64,
    ) -> Result<u64, OutOfMemory> {
        let (mut made, mut n) = (0, 0);
        while n < pages {
            let at = va.add(n * PAGE_SIZE);
            n += match self.map_run(s, at, f, first + n, pages - n)? {
                0 => 1,
                run => {
                    made += run;
                    run
                }
            };
        }
        Ok(made)
    }

    /// One run of [`Self::map`]; 0 where the first entry cannot be made.
    fn map_run(
        &mut self,
        s: usize,
        va: VirtAddr,
        f: usize,
        first: u64,
        pages: u64,
    ) -> Result<u64, OutOfMemory> {
        let (mm, scheme, limit) = (self.mm, self.scheme, self.range().1);
        let (Some(folio), Some(owner)) = (self.folios[f].as_ref(), self.owner(s)) else { return Ok(0) };
        let (head, private) = (folio.head, folio.is_private());
        let Some(space) = self.spaces[s].as_mut().filter(|_| va < limit) else { return Ok(0) };
        let Some(table) = space.tree.table_for(mm, va, Level::L3)? else { return Ok(0) };
        let (at, vma) = (va.index(Level::L3), space.vmas.around(va));
        let most = pages.min(vma.1.offset_from(va) / PAGE_SIZE).min((ENTRIES_PER_TABLE - at) as u64);
        let free = |&n: &u64| {
            let placed = private && folio.placed[(first + n) as usize] >> s & 1 == 1;
            !placed && !read(table, at + n as usize).is_valid()
        };
        let entries = (0..most).take_while(free).count() as u32;
        let top = match head.order() == Order::PUD {
            true => space.table(va, Level::L2).unwrap_or(table),
            false => table,
        };
        let page = head.nth(first);
        let run =
            Run { head, first: page, entries, level: Level::L3, table, top, va, space: s as u64, owner, vma };
        if entries == 0 || scheme.may_add(&run).is_err() {
            return Ok(0);
        }
        (0..entries).for_each(|n| {
            space.tree.write(table, at + n as usize, leaf(page.nth(n.into()), Level::L3));
        });
        scheme.add(&run);
        self.place(s, page, entries.into());
        Ok(entries.into())
    }

    /// Makes one entry of `level` for folio `f`, from page `first` on. `None`: something is mapped there, or a page is,
    /// or there is no VMA around all of it, or the folio is smaller.
    ///
    /// # Errors
    /// [`OutOfMemory`], for tables.
    pub fn map_block(
        &mut self,
        s: usize,
        va: VirtAddr,
        f: usize,
        first: u64,
        level: Level,
    ) -> Result<Option<()>, OutOfMemory> {
        let (mm, scheme) = (self.mm, self.scheme);
        let (Some(folio), Some(owner)) = (self.folios[f].as_ref(), self.owner(s)) else { return Ok(None) };
        let (head, pages) = (folio.head, level.entry_bytes() / PAGE_SIZE);
        let taken = || folio.placed[first as usize..(first + pages) as usize].iter().any(|m| m >> s & 1 == 1);
        let Some(space) = self.spaces[s].as_mut() else { return Ok(None) };
        let vma = space.vmas.around(va);
        let end = va.add(level.entry_bytes());
        if first + pages > folio.pages() || end > vma.1 || folio.is_private() && taken() {
            return Ok(None);
        }
        let Some(table) = space.tree.table_for(mm, va, level)? else { return Ok(None) };
        let at = va.index(level);
        let page = head.nth(first);
        let run =
            Run { head, first: page, entries: 1, level, table, top: table, va, space: s as u64, owner, vma };
        if read(table, at).is_valid() || scheme.may_add(&run).is_err() {
            return Ok(None);
        }
        scheme.add(&run);
        space.tree.write(table, at, leaf(page, level));
        self.place(s, page, pages);
        Ok(Some(()))
    }

    /// Clears every entry of `[start, end)`. Blocks that reach beyond are split first, or left if there is no table.
    pub fn clear(&mut self, s: usize, start: VirtAddr, end: VirtAddr, how: Clear) {
        let mut va = start;
        while va < end {
            va = self.clear_at(s, va, start, end, how);
        }
    }

    /// Clears the run at `va`; returns where the next one may begin.
    fn clear_at(&mut self, s: usize, va: VirtAddr, start: VirtAddr, end: VirtAddr, how: Clear) -> VirtAddr {
        let Some(space) = self.spaces[s].as_ref() else { return end };
        let last = space.tree.walk(va).last();
        let bytes = last.level.entry_bytes();
        let (first, next) = (va.align_down(bytes), va.align_down(bytes).add(bytes));
        if !last.desc.is_leaf(last.level) {
            return next;
        }
        if first < start || next > end {
            return if self.split(s, va) == Ok(Some(())) { va } else { next };
        }
        let Some(run) = self.run_at(s, va, end) else { return next };
        let Some(space) = self.space(s) else { return end };
        let at = va.index(run.level);
        (0..run.entries as usize).for_each(|n| space.tree.write(run.table, at + n, Desc::INVALID));
        match how {
            Clear::Remove => self.scheme.remove(&run),
            Clear::Zap => self.scheme.zap(&run),
        };
        self.unplace(s, &run);
        va.add(run.pages() * PAGE_SIZE)
    }

    /// Clears the entries for pages `first..first + pages` of folio `f` in every space; tables stay.
    pub fn zap(&mut self, f: usize, first: u64, pages: u64) {
        let Some(head) = self.folios[f].as_ref().map(|folio| folio.head) else { return };
        let (from, end) = (head.nth(first), head.nth(first + pages));
        for s in 0..self.spaces.len() {
            let (mut va, last) = self.range();
            while va < last {
                let step = self.spaces[s].as_ref().map(|space| space.tree.walk(va).last());
                let Some(step) = step else { break };
                let bytes = step.level.entry_bytes();
                let page = page_of(step.desc.output(step.level).pfn());
                let maps = step.desc.is_leaf(step.level) && page < end && page.nth(bytes / PAGE_SIZE) > from;
                if maps
                    && (page < from || page.nth(bytes / PAGE_SIZE) > end)
                    && self.split(s, va) == Ok(Some(()))
                {
                    continue;
                }
                let next = va.align_down(bytes).add(bytes);
                if maps {
                    self.clear(s, va.align_down(bytes), next, Clear::Zap);
                }
                va = next;
            }
        }
    }

    /// Frees the level-3 table around `va` if it is empty.
    pub fn prune(&mut self, s: usize, va: VirtAddr) {
        let mm = self.mm;
        let Some(space) = self.space(s) else { return };
        let Some(table) = space.table(va, Level::L3).filter(|&table| is_empty(table)) else {
            return;
        };
        if let Some(loose) = space.tree.replace_table(va, Level::L2, Desc::INVALID) {
            debug_assert_eq!(loose.address(), table);
            mm.free_table(loose);
        }
    }

    /// Replaces the block around `va` by a table. `None`: there is none.
    ///
    /// # Errors
    /// [`OutOfMemory`]: no table.
    pub fn split(&mut self, s: usize, va: VirtAddr) -> Result<Option<()>, OutOfMemory> {
        let (mm, scheme, end) = (self.mm, self.scheme, self.range().1);
        let step = self.spaces[s].as_ref().and_then(|space| space.tree.walk(va).leaf());
        let Some((step, next)) = step.and_then(|step| Some((step, step.level.next()?))) else {
            return Ok(None);
        };
        let start = va.align_down(step.level.entry_bytes());
        let Some(run) = self.run_at(s, start, end) else { return Ok(None) };
        let run = Run { entries: 1, ..run };
        let mut table = mm.alloc_table()?;
        let pages = next.entry_bytes() / PAGE_SIZE;
        table.fill(|n| leaf(run.first.nth(n as u64 * pages), next));
        scheme.split(&run, table.address());
        if let Some(space) = self.space(s) {
            space.tree.write(run.table, start.index(step.level), table.link());
        }
        Ok(Some(()))
    }

    /// Replaces the table behind the entry of `level` for `va` by a block, if all its entries map one folio in line.
    pub fn join(&mut self, s: usize, va: VirtAddr, level: Level) -> Option<()> {
        let start = va.align_down(level.entry_bytes());
        let end = start.add(level.entry_bytes());
        let pieces = self.run_at(s, start, end)?;
        let space = self.spaces[s].as_ref()?;
        let whole = pieces.level.previous() == Some(level) && pieces.entries == ENTRIES_PER_TABLE as u32;
        let block = order_of(level);
        let aligned = pieces.first.pfn().is_aligned(block) && pieces.head.order() >= block;
        let table = space.table(start, level).filter(|_| whole && aligned)?;
        let run = Run { entries: 1, level, table, top: table, ..pieces };
        self.scheme.join(&pieces, &run);
        let desc = leaf(pieces.first, level);
        let loose = self.space(s)?.tree.replace_table(start, level, desc)?;
        self.mm.free_table(loose);
        Some(())
    }

    /// Cuts the VMA around `va` there; blocks across the cut are split.
    ///
    /// # Errors
    /// [`OutOfMemory`]: a block cannot be split.
    pub fn cut(&mut self, s: usize, va: VirtAddr) -> Result<(), OutOfMemory> {
        while !va.is_aligned(Level::L2.entry_bytes()) && self.split(s, va)?.is_some() {}
        let (scheme, tails) = (self.scheme, self.mm.config.tails);
        let Some(space) = self.space(s) else { return Ok(()) };
        let vma = space.vmas.around(va);
        if space.vmas.cut(va).is_some() && !va.is_aligned(Level::L2.entry_bytes()) {
            scheme.vma_boundary(tails, Boundary::Cut, va, vma, |va| space.table(va, Level::L3));
        }
        Ok(())
    }

    /// Joins two VMAs, those at place `n` of the ends.
    pub fn join_vmas(&mut self, s: usize, n: usize) {
        let (scheme, tails) = (self.scheme, self.mm.config.tails);
        let Some(space) = self.space(s).filter(|space| n < space.vmas.len()) else { return };
        let va = space.vmas.join(n);
        let vma = space.vmas.around(va);
        if !va.is_aligned(Level::L2.entry_bytes()) {
            scheme.vma_boundary(tails, Boundary::Joined, va, vma, |va| space.table(va, Level::L3));
        }
    }

    /// A second space that maps what the first one does. `None`: there is no place for it.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the second space has a part.
    pub fn fork(&mut self, s: usize) -> Result<Option<usize>, OutOfMemory> {
        let Some(vmas) = self.spaces[s].as_ref().map(|space| space.vmas) else { return Ok(None) };
        let Some(child) = self.bear()? else { return Ok(None) };
        if let Some(space) = self.space(child) {
            space.vmas = vmas;
        }
        let (mut va, end) = self.range();
        while va < end {
            let Some(step) = self.spaces[s].as_ref().map(|space| space.tree.walk(va).last()) else { break };
            let bytes = step.level.entry_bytes();
            va = match self.run_at(s, va, end) {
                None => va.align_down(bytes).add(bytes),
                Some(run) => {
                    self.give(child, &run)?;
                    va.add(run.pages() * PAGE_SIZE)
                }
            };
        }
        Ok(Some(child))
    }

    /// The child's side of a run.
    fn give(&mut self, child: usize, run: &Run) -> Result<(), OutOfMemory> {
        let Some(f) = self.folio_of(run.first) else { return Ok(()) };
        let first = run.first.pfn().offset_from(run.head.pfn());
        if run.level == Level::L3 {
            return self.map(child, run.va, f, first, run.pages()).map(drop);
        }
        let bytes = run.level.entry_bytes();
        (0..u64::from(run.entries)).try_for_each(|n| {
            let first = first + n * bytes / PAGE_SIZE;
            self.map_block(child, run.va.add(n * bytes), f, first, run.level).map(drop)
        })
    }

    /// Moves what page entries map in `[from, from + pages)` to `to`, where there is room; the rest is unmapped.
    ///
    /// # Errors
    /// [`OutOfMemory`], for tables.
    pub fn move_pages(
        &mut self,
        s: usize,
        from: VirtAddr,
        pages: u64,
        to: VirtAddr,
    ) -> Result<(), OutOfMemory> {
        let end = from.add(pages * PAGE_SIZE);
        let mut va = from;
        while va < end {
            let run = self.run_at(s, va, end).filter(|run| run.level == Level::L3);
            let Some((run, f)) = run.and_then(|run| Some((run, self.folio_of(run.first)?))) else {
                va = va.add(PAGE_SIZE);
                continue;
            };
            let next = va.add(run.pages() * PAGE_SIZE);
            self.clear(s, va, next, Clear::Remove);
            let first = run.first.pfn().offset_from(run.head.pfn());
            self.map(s, to.add(va.offset_from(from)), f, first, run.pages())?;
            va = next;
        }
        Ok(())
    }

    /// Takes folio `f`, a private one of 2 MiB that nothing maps, apart, maps some of its pages singly at `va`, and
    /// makes a folio of them again that a block maps: what promotion does. `None`: it cannot be done here.
    ///
    /// # Errors
    /// [`OutOfMemory`], for a table.
    pub fn fold(&mut self, s: usize, va: VirtAddr, f: usize, step: usize) -> Result<Option<()>, OutOfMemory> {
        let (mm, scheme) = (self.mm, self.scheme);
        let (Some(folio), Some(owner)) = (self.folios[f].as_ref(), self.owner(s)) else { return Ok(None) };
        let (head, order, kind) = (folio.head, folio.head.order(), folio.head.kind());
        let fits = order == Order::PMD && kind == PageKind::Anon && folio.is_unplaced();
        let Some(space) = self.spaces[s].as_mut().filter(|_| fits) else { return Ok(None) };
        let vma = space.vmas.around(va);
        if va.add(order.bytes()) > vma.1 || space.tree.walk(va).last().level == Level::L3 {
            return Ok(None);
        }
        let Some(table) = space.tree.table_for(mm, va, Level::L3)? else { return Ok(None) };
        for n in (0..ENTRIES_PER_TABLE).step_by(step.max(1)) {
            let page = head.nth(n as u64);
            page.set_kind(PageKind::Anon, Order::PAGE);
            page.set_raw_mapcount(0);
            let run = Run {
                head: page,
                first: page,
                entries: 1,
                level: Level::L3,
                table,
                top: table,
                va: va.add(n as u64 * PAGE_SIZE),
                space: s as u64,
                owner,
                vma,
            };
            scheme.add(&run);
            space.tree.write(table, n, leaf(page, Level::L3));
        }
        head.prep_compound(kind, order, mm.config.tails);
        let Some(above) = space.table(va, Level::L2) else { return Ok(None) };
        let block = Run {
            head,
            first: head,
            entries: 1,
            level: Level::L2,
            table: above,
            top: above,
            va,
            space: s as u64,
            owner,
            vma,
        };
        scheme.fold(&block);
        if let Some(loose) = space.tree.replace_table(va, Level::L2, leaf(head, Level::L2)) {
            mm.free_table(loose);
        }
        self.place(s, head, order.pages());
        Ok(Some(()))
    }

    /// Ends a space.
    pub fn exit(&mut self, s: usize) {
        let (start, end) = self.range();
        self.clear(s, start, end, Clear::Remove);
        if let Some(space) = self.spaces[s].take() {
            space.tree.free(self.mm);
            self.mm.owners.give_back(space.owner);
        }
    }
}
