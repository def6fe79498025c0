//! The call, and what the child has besides its tables.
#![forbid(unsafe_code)]

use super::{ForkError, copy};
use crate::Mm;
use crate::kalloc::KArc;
use crate::space::life::Birth;
use crate::space::{AddressSpace, Commit, Vma, VmaKind, VmaSet};
use crate::trace::Point;

impl Mm {
    /// A child of `parent`: the same VMAs and the same private memory, to be copied where either writes (Linux:
    /// `dup_mmap`). The parent goes on with its reservations of huge pages; the child begins without any. hugetlb
    /// pages that the pool has promised to the parent stay the parent's: the child gets a page of its own, for a slot
    /// or for a copy, where the pool has one that is promised to nobody, and else SIGBUS (Linux: `HPAGE_RESV_OWNER`).
    /// May sleep; the caller holds no lock.
    ///
    /// # Errors
    /// [`ForkError`]; there is no child.
    pub fn fork_space(&self, parent: &AddressSpace) -> Result<KArc<AddressSpace>, ForkError> {
        let begin = || [parent.id, 0, 0, 0];
        self.stats.slice(Point::Fork, (0, begin), |_| (0, [0; 4]), || self.copy_space(parent))
    }

    fn copy_space(&self, parent: &AddressSpace) -> Result<KArc<AddressSpace>, ForkError> {
        let mmap = parent.mmap_lock.write(self.env);
        let vmas = parent.vmas.lock().try_clone(inherit)?;
        let id = self.asids.next_space_id();
        let lineage = self.lineages.child(&parent.lineage, id)?;
        let may_thp = parent.thp_permission();
        let child = self.bear(lineage, Birth { id, vmas: VmaSet::new(), brk: parent.brk(), may_thp })?;
        let inherited = self.inherit_objects(parent, &child);
        if inherited.is_ok() {
            *child.vmas.lock() = vmas;
        }
        let copied =
            inherited.map_err(ForkError::from).and_then(|()| copy::copy_tables(self, parent, &child));
        match copied {
            Ok(()) => Ok(child),
            Err(error) => {
                // The end of the child takes the child's M, and a thread has one M at a time.
                drop(mmap);
                self.destroy_space(&child);
                Err(error)
            }
        }
    }
}

/// What the child has of a VMA: all, but what the hugetlb pool has promised, and who serves its faults.
fn inherit(vma: &mut Vma) {
    vma.userfault = None;
    if matches!(vma.kind, VmaKind::Hugetlb(_) | VmaKind::HugePrivate(..)) {
        vma.commit = Commit::NoReserve;
    }
}
