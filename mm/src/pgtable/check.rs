//! The tables' part of the full check: every table is linked once, and the kernel's tree maps what it should.
//!
//! | area | a leaf maps |
//! |---|---|
//! | linear map | RAM at its own address; all of it |
//! | vmemmap | writable: a page of kind vmemmap, each at one address; read-only: counted for room 10 |
//! | devices | no RAM |
//! | stacks | a kernel page, in the lower half of a slot that is in use; every page of it |
//! | image | reserved pages |
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::{HwDirty, PteFlags};
use arch::{Order, Pfn, PhysAddr, VirtAddr, layout};

use super::kernel::KernelTree;
use super::visit::{Leaf, Node, visit};
use super::vmalloc::STACK_BASE;
use crate::Mm;
use crate::boot::Frames;
use crate::check::{Inconsistency, Report, Tally, agree, for_each_block};
use crate::page::{PageKind, page_of};
use crate::stats::Counter;

/// What the kernel's tree maps, by area (4 KiB units).
#[derive(Default)]
struct Mapped {
    linear: u64,
    stacks: u64,
}

impl Mm {
    /// Every leaf of the kernel's half.
    pub(crate) fn check_kernel_tables(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let mut mapped = Mapped::default();
        visit(self.kernel_root(), layout::LINEAR_BASE, &mut |node| match node {
            Node::Table(table) => self.check_kernel_link(table.pfn()),
            Node::Migration(entry) | Node::Poisoned(entry) => no_migration(entry),
            Node::Leaf(leaf) => {
                check_rights(leaf)?;
                self.check_kernel_leaf(leaf, &mut mapped, report)
            }
        })?;
        agree("pages of the linear map", None, self.ram_pages(), mapped.linear)?;
        let stacks = self.kernel.lock().stack_pages();
        agree("pages of kernel stacks", None, stacks, mapped.stacks)
    }

    /// Tables of boot are reserved, later ones are tables.
    fn check_kernel_link(&self, pfn: Pfn) -> Result<(), Inconsistency> {
        let kind = self.pfn_valid(pfn).then(|| page_of(pfn).kind());
        let good = matches!(kind, Some(PageKind::Table | PageKind::Reserved));
        agree("a table of the kernel is a table", Some(pfn), 1, good.into())
    }

    fn check_kernel_leaf(
        &self,
        leaf: Leaf,
        mapped: &mut Mapped,
        report: &mut Report,
    ) -> Result<(), Inconsistency> {
        let (pages, start) = (leaf.level.entry_bytes() / PAGE_SIZE, leaf.desc.output(leaf.level));
        let frames = Frames::new(start.pfn(), pages);
        if leaf.va < layout::VMEMMAP_BASE {
            mapped.linear += pages;
            self.check_linear(leaf.va, start, frames)
        } else if leaf.va < layout::VMALLOC_BASE {
            if leaf.desc.flags(leaf.level).contains(PteFlags::READ_ONLY) {
                report.read_only_vmemmap += pages;
                return Ok(());
            }
            frames.iter().for_each(|pfn| report.holders.add(pfn));
            self.check_kinds(frames, PageKind::Vmemmap, "a page of vmemmap holds struct pages")
        } else if leaf.va < STACK_BASE {
            let ram = self.ram().iter().map(|bank| bank.meet(frames).len()).sum();
            agree("device registers are no RAM", Some(frames.start), 0, ram)
        } else if leaf.va < layout::IMAGE_BASE {
            mapped.stacks += pages;
            let used = self.kernel.lock().is_stack(leaf.va);
            agree("a stack's page lies in a stack", Some(frames.start), 1, used.into())?;
            self.check_kinds(frames, PageKind::Kernel, "a page of a stack is the kernel's")
        } else {
            self.check_kinds(frames, PageKind::Reserved, "a page of the image is reserved")
        }
    }

    fn check_linear(&self, va: VirtAddr, pa: PhysAddr, frames: Frames) -> Result<(), Inconsistency> {
        let pfn = Some(frames.start);
        agree("the address of a page in the linear map", pfn, layout::linear(pa).raw(), va.raw())?;
        let ram = self.ram().iter().map(|bank| bank.meet(frames).len()).sum();
        agree("the linear map holds RAM only", pfn, frames.len(), ram)
    }

    fn check_kinds(&self, frames: Frames, kind: PageKind, what: &'static str) -> Result<(), Inconsistency> {
        frames.iter().try_for_each(|pfn| {
            let found = self.pfn_valid(pfn).then(|| page_of(pfn).kind());
            agree(what, Some(pfn), 1, (found == Some(kind)).into())
        })
    }

    /// Every page of kind vmemmap is mapped once, but for the shared pages of tails; and what was given out beside
    /// the pages with which vmemmap began is what the counters say.
    pub(crate) fn check_vmemmap(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let mut holders = report.holders;
        for order in (0..=Order::PUD.raw()).map(Order::new) {
            if let Some(shared) = self.hvo.shared_tails(order) {
                holders.add(shared.pfn());
            }
        }
        let pages = report.firsts_of(PageKind::Vmemmap);
        agree("pages that hold struct pages, mapped or shared", None, pages.pages(), holders.pages())?;
        agree("pages that hold struct pages are mapped once", None, 1, (pages == holders).into())?;
        let never_taken = self.hvo.at_boot().never_taken;
        let at_boot = report.holders.pages() + report.read_only_vmemmap - never_taken;
        let given = at_boot + self.stats.get(Counter::PgAlloc);
        let used = self.managed_pages() - report.free_pages();
        agree("pages given out by pgalloc and pgfree", None, used, given - self.stats.get(Counter::PgFree))
    }

    /// Every page of kind table is linked exactly once: in the kernel's tree, in that of a live address space, or as
    /// the root of one.
    pub(crate) fn check_tables(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let mut linked = Tally::default();
        self.for_each_link(&mut |pfn| {
            linked.add(pfn);
            Ok(())
        })?;
        let tables = report.firsts_of(PageKind::Table);
        if linked != tables {
            self.name_wrong_table()?;
        }
        agree("nr_page_table_pages", None, tables.pages(), self.stats.get(Counter::NrPageTable))
    }

    /// Calls `f` for the target of every link to a page of kind table.
    fn for_each_link(
        &self,
        f: &mut impl FnMut(Pfn) -> Result<(), Inconsistency>,
    ) -> Result<(), Inconsistency> {
        visit(self.kernel_root(), layout::LINEAR_BASE, &mut |node| match node {
            Node::Table(table) if page_of(table.pfn()).kind() == PageKind::Table => f(table.pfn()),
            Node::Table(_) | Node::Leaf(_) | Node::Migration(_) | Node::Poisoned(_) => Ok(()),
        })?;
        self.spaces.try_for_each(|space| {
            self.check_user_link(space.root().pfn())?;
            f(space.root().pfn())?;
            visit(space.root(), VirtAddr::new(0), &mut |node| match node {
                Node::Table(table) => {
                    self.check_user_link(table.pfn())?;
                    f(table.pfn())
                }
                Node::Leaf(_) | Node::Poisoned(_) => Ok(()),
                Node::Migration(entry) => no_migration(entry),
            })
        })
    }

    fn check_user_link(&self, pfn: Pfn) -> Result<(), Inconsistency> {
        agree("a table of an address space is RAM", Some(pfn), 1, self.pfn_valid(pfn).into())?;
        let kind = page_of(pfn).kind();
        agree("a table of an address space is a table", Some(pfn), PageKind::Table as u64, kind as u64)
    }

    /// Looks for the first page of kind table that is not linked once.
    fn name_wrong_table(&self) -> Result<(), Inconsistency> {
        for &bank in self.ram() {
            for_each_block(bank, |page, kind, _| {
                let mut links = 0;
                if kind == PageKind::Table {
                    self.for_each_link(&mut |pfn| {
                        links += u64::from(pfn == page.pfn());
                        Ok(())
                    })?;
                    agree("links to a page table", Some(page.pfn()), 1, links)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Nothing moves while the check looks.
fn no_migration(entry: Leaf) -> Result<(), Inconsistency> {
    let pfn = entry.desc.as_migration(entry.level).map(|migration| migration.output.pfn());
    agree("a migration entry was left behind", pfn, 0, entry.desc.raw())
}

/// Every leaf of the kernel's half is global, not for EL0, and never both writable and executable.
fn check_rights(leaf: Leaf) -> Result<(), Inconsistency> {
    let (flags, desc) = (leaf.desc.flags(leaf.level), leaf.desc);
    let executable = desc.kernel_exec() || desc.user_exec();
    let bad = flags.intersects(PteFlags::USER | PteFlags::NOT_GLOBAL)
        || (executable && desc.grants_write(HwDirty::Enabled));
    let found = if bad { desc.raw() } else { 0 };
    agree("a leaf of the kernel's half that is not W^X, global, and EL1's", None, 0, found)
}

impl KernelTree {
    fn stack_pages(&self) -> u64 {
        self.vmalloc.stack_pages()
    }
    fn is_stack(&self, va: VirtAddr) -> bool {
        self.vmalloc.is_stack(va)
    }
}
