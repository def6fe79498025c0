//! Birth and teardown of an address space.
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::layout::USER_END;
use arch::sync::SpinLock;
use arch::{Machine, Mmu, VirtAddr};

use super::lineage::Lineage;
use super::registry::Link;
use super::{AddressSpace, VmaSet};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::KArc;
use crate::locks::{self, SleepLock};
use crate::pgtable::{AsidCell, FlushTag, Flusher, PtRoot};
use crate::shmem::SpaceObjects;
use crate::thp::permission::PermissionCell;
use crate::thp::{Holes, SpaceReservations, ThpPermission, khugepaged, promoter};
use crate::trace::Point;
use crate::userfault::SpaceUserfaults;

/// What a space is born with.
pub(super) struct Birth {
    /// Its number.
    pub(super) id: u64,
    /// Its VMAs.
    pub(super) vmas: VmaSet,
    /// Its heap.
    pub(super) brk: Range<u64>,
    /// Whether it may have huge pages.
    pub(super) may_thp: ThpPermission,
}

impl Mm {
    /// An empty address space.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new_space(&self) -> Result<KArc<AddressSpace>, OutOfMemory> {
        let id = self.asids.next_space_id();
        let lineage = self.lineages.root(id)?;
        self.bear(lineage, Birth { id, vmas: VmaSet::new(), brk: 0..0, may_thp: ThpPermission::Granted })
    }

    /// A space without anything mapped, alive, in the node that was made for it.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the node is gone too.
    pub(super) fn bear(&self, lineage: Lineage, birth: Birth) -> Result<KArc<AddressSpace>, OutOfMemory> {
        let node = lineage.clone();
        let Birth { id, vmas, brk, may_thp } = birth;
        let owner = self.owners.take().inspect_err(|_| self.lineages.leave(&node))?;
        let space = KArc::try_new_with(|| {
            let tree = PtRoot::new(self.alloc_table()?);
            Ok(AddressSpace {
                id,
                owner,
                asid: AsidCell::new(),
                mmap_lock: SleepLock::new(locks::MMAP),
                root: tree.root(),
                ptl: SpinLock::new(locks::PAGE_TABLE, tree),
                reservations: SpaceReservations::new(),
                holes: Holes::new(),
                may_thp: PermissionCell::new(may_thp),
                objects: SpaceObjects::new(),
                userfaults: SpaceUserfaults::new(),
                lineage,
                link: Link::new(),
                vmas: SpinLock::new(locks::VMAS, vmas),
                brk_start: AtomicU64::new(brk.start),
                brk_end: AtomicU64::new(brk.end),
                anon: AtomicU64::new(0),
                ended: AtomicBool::new(false),
            })
        })
        .inspect_err(|_| {
            self.lineages.leave(&node);
            self.owners.give_back(owner);
        })?;
        space.lineage.settle(&space);
        self.spaces.insert(&space);
        khugepaged::space_born(self);
        Ok(space)
    }

    /// Unmaps everything and frees all tables: the end of the space, called once. No CPU has it active and
    /// nobody will activate it or map anything into it again; who still holds the [`KArc`] finds no VMAs. Its
    /// ASID is not given to anybody before a rollover drops all that is tagged with it. May sleep.
    pub fn destroy_space(&self, space: &AddressSpace) {
        debug_assert!(
            Machine::user_root().is_none_or(|(root, _)| root != space.root),
            "address space {} is destroyed while this CPU runs it",
            space.id
        );
        let begin = || [space.id, 0, 0, 0];
        self.stats.slice(Point::Exit, (0, begin), |()| (0, [0; 4]), || self.end_space(space));
    }

    fn end_space(&self, space: &AddressSpace) {
        let _mmap = space.mmap_lock.write(self.env);
        self.unmap_prepared(space, VirtAddr::new(0), USER_END);
        space.userfaults.end(self);
        promoter::cancel(self, space);
        // From here on nobody comes to the tree by way of a page.
        self.lineages.leave(&space.lineage);
        khugepaged::leave(self, space, || self.spaces.remove(space));
        let root = {
            let mut tree = space.ptl.lock();
            space.ended.store(true, Ordering::Release);
            tree.take_root()
        };
        if let Some(root) = root {
            self.free_table(root);
        }
        self.owners.give_back(space.owner);
    }
}

impl AddressSpace {
    /// Whose translations a change of its tree makes stale.
    #[must_use]
    pub fn tag(&self) -> FlushTag<'_> {
        FlushTag::User(&self.asid)
    }
    /// Flushes for its tree.
    #[must_use]
    pub fn flusher<'a>(&'a self, mm: &'a Mm) -> Flusher<'a> {
        Flusher::new(self.tag(), &mm.stats)
    }
    /// The heap `[start, end)`.
    pub(super) fn brk(&self) -> Range<u64> {
        self.brk_start.load(Ordering::Relaxed)..self.brk_end.load(Ordering::Relaxed)
    }
    /// Whether the root is still the space's. Stays true while the caller holds T; who holds a reference to the root's
    /// frame, taken before, knows that the frame was the root then and has not been anything else since.
    #[must_use]
    pub fn has_tables(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }
}
