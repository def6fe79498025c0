//! The eight vmemmap pages of a 2 MiB range, as the live tables map them.
#![forbid(unsafe_code)]

use core::fmt;

use arch::addr::PAGE_SIZE;
use arch::pte::{PteFlags, Rights};
use arch::{Desc, Level, Order, Pfn, PhysAddr, VirtAddr, layout};

use crate::Mm;
use crate::pgtable::{WalkStep, walk};

/// vmemmap pages of a 2 MiB range.
pub const PAGES: usize = 8;

/// How one page of vmemmap is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmemmapEntry {
    /// Its address.
    pub va: VirtAddr,
    /// The level of the descriptor where the walk ended.
    pub level: Level,
    /// Where that descriptor stands.
    pub slot: PhysAddr,
    /// The descriptor.
    pub desc: Desc,
}

impl VmemmapEntry {
    fn new(va: VirtAddr, last: WalkStep) -> Self {
        VmemmapEntry { va, level: last.level, slot: last.slot, desc: last.desc }
    }
    /// The frame behind the page; `None` while it has no translation.
    #[must_use]
    pub fn output(&self) -> Option<PhysAddr> {
        let offset = self.va.raw() & (self.level.entry_bytes() - 1);
        self.desc.is_leaf(self.level).then(|| self.desc.output(self.level).add(offset))
    }
    /// The attribute bits of its descriptor.
    #[must_use]
    pub fn flags(&self) -> PteFlags {
        self.desc.flags(self.level)
    }
}

impl fmt::Display for VmemmapEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  L{} {}  ", self.va, self.level, self.desc)?;
        match self.output() {
            Some(output) => write!(f, "-> {output}  {}", Rights(self.flags())),
            None => f.write_str("no translation"),
        }
    }
}

/// How the page of vmemmap at `va` is mapped, read from the live tables without a lock.
#[must_use]
pub fn entry(mm: &Mm, va: VirtAddr) -> VmemmapEntry {
    VmemmapEntry::new(va, walk(mm.kernel_root(), va).last())
}

/// The entries for the struct pages of the 2 MiB range that `pfn` lies in, read from the live tables. Takes
/// lock V: not for [`crate::env::KernelEnv::at_step`], which is called under it.
#[must_use]
pub fn describe(mm: &Mm, pfn: Pfn) -> [VmemmapEntry; PAGES] {
    let base = layout::vmemmap(pfn.align_down(Order::PMD));
    mm.with_kernel_tree(|tree, _| {
        core::array::from_fn(|n| {
            let va = base.add(n as u64 * PAGE_SIZE);
            VmemmapEntry::new(va, tree.walk(va).last())
        })
    })
}
