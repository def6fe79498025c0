//! A space with its areas: who is in it, what they do there, its end and its rebirth.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arch::contract::Cpu;
use arch::{Machine, Pfn};

use super::area::{Area, Change, Changed, Kind, RW};
use super::hold::Hold;
use super::memory::{By, Memory};
use super::object::PAGES;
use super::stage::Stage;
use super::view::View;
use crate::Mm;
use crate::kalloc::KArc;
use crate::space::{AddressSpace, Advice, MapProt};
use crate::testkit::Random;
use crate::testkit::host_env::lock;

/// Nobody may enter: the space ends, and begins anew.
const CLOSED: usize = usize::MAX;

/// A space with its areas.
pub(super) struct Home {
    /// The space; `None` only while the home is closed.
    space: Mutex<Option<KArc<AddressSpace>>>,
    areas: Vec<Area>,
    views: Vec<Arc<View>>,
    /// How many vCPUs run the space; [`CLOSED`].
    inside: AtomicUsize,
    /// Pages of the heap. Written by whoever moved it out of [`MOVING`].
    heap: AtomicUsize,
}

/// Most pages that are faulted in by one call: the machines are small.
const MOST_POPULATED: usize = 16;

/// The end of the heap is being moved.
const MOVING: usize = usize::MAX;

impl Home {
    /// A new space; its areas are mapped, readable and writable, but for a heap, which is empty.
    pub(super) fn new(mm: &Mm, areas: Vec<Area>) -> Self {
        Home::with_views(mm, areas, Vec::new())
    }

    /// The same, with objects, which are mapped as areas are.
    pub(super) fn with_views(mm: &Mm, areas: Vec<Area>, views: Vec<View>) -> Self {
        let home = Home {
            space: Mutex::new(None),
            areas,
            views: views.into_iter().map(Arc::new).collect(),
            inside: AtomicUsize::new(CLOSED),
            heap: AtomicUsize::new(0),
        };
        home.open(mm);
        home
    }

    fn open(&self, mm: &Mm) {
        let space = mm.new_space().unwrap_or_else(|error| panic!("no new space: {error}"));
        self.heap.store(0, Ordering::SeqCst);
        for area in &self.areas {
            if area.kind() == Kind::Heap {
                mm.set_brk_start(&space, area.va(0));
            } else {
                area.change(mm, &space, 0..area.len(), Change::Map(RW));
            }
        }
        for view in &self.views {
            view.change(mm, &space, 0..PAGES, Change::Map(RW));
        }
        *lock(&self.space) = Some(space);
        self.inside.store(0, Ordering::SeqCst);
    }

    /// Ends the space; only while the home is closed, or when all is over.
    fn close(&self, mm: &Mm) {
        let space = lock(&self.space).take();
        if let Some(space) = space {
            mm.destroy_space(&space);
        }
        self.areas.iter().for_each(Area::forget);
        self.views.iter().for_each(|view| view.forget());
    }

    /// Ends the space and begins it anew, unless somebody is in it. Whether it was done.
    pub(super) fn rebuild(&self, mm: &Mm) -> Changed {
        if self.inside.compare_exchange(0, CLOSED, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return Changed::No;
        }
        self.close(mm);
        self.open(mm);
        Changed::Yes
    }

    /// Ends the space for good.
    pub(super) fn end(self, mm: &Mm) {
        self.close(mm);
    }

    /// The space, which this vCPU keeps from ending.
    ///
    /// # Panics
    /// The home is closed.
    pub(super) fn space(&self) -> KArc<AddressSpace> {
        match lock(&self.space).as_ref() {
            Some(space) => space.clone(),
            None => panic!("a home is closed while somebody is in it"),
        }
    }

    /// Makes this vCPU run the space from now on. `None`: the home is closed.
    pub(super) fn enter<'h>(&'h self, stage: &Stage<'_>) -> Option<Inside<'h>> {
        let one_more = |n: usize| (n != CLOSED).then(|| n + 1);
        self.inside.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        let space = self.space();
        stage.switch_to(Some(&space));
        Some(Inside { home: self, space })
    }

    /// What a vCPU knows of it at first: nothing.
    pub(super) fn memories(&self, cpu: usize) -> Vec<Memory> {
        self.areas.iter().map(|area| Memory::new(area, cpu)).collect()
    }
}

/// A vCPU runs the space of a home. Ends by [`Self::leave`] after the vCPU was switched away.
pub(super) struct Inside<'h> {
    home: &'h Home,
    space: KArc<AddressSpace>,
}

impl<'h> Inside<'h> {
    /// The home may end from now on. This vCPU runs another space already, or none.
    pub(super) fn leave(self) {
        drop(self.space);
        self.home.inside.fetch_sub(1, Ordering::SeqCst);
    }
    /// The space.
    pub(super) fn space(&self) -> KArc<AddressSpace> {
        self.space.clone()
    }
    /// Loads or stores a word of a page.
    pub(super) fn access(
        &self,
        mm: &Mm,
        memories: &mut [Memory],
        random: &mut Random,
        n: usize,
        page: usize,
    ) {
        let (area, memory) = (&self.home.areas[n], &mut memories[n]);
        let by = if random.below(8) == 0 { By::Kernel(mm, &self.space) } else { By::User };
        if random.below(2) == 0 { memory.load(area, page, by) } else { memory.store(area, page, by) }
    }

    /// One random access to one random page.
    pub(super) fn access_any(&self, mm: &Mm, memories: &mut [Memory], random: &mut Random) {
        let n = random.below(self.home.areas.len() as u64) as usize;
        let page = random.below(self.home.areas[n].len() as u64) as usize;
        self.access(mm, memories, random, n, page);
    }

    /// Loads every word that was accessed before.
    pub(super) fn look_at_all(&self, memories: &mut [Memory]) {
        for (area, memory) in self.home.areas.iter().zip(memories) {
            memory.load_all(area);
        }
        self.home.views.iter().for_each(|view| view.look_at_all(Machine::id().index()));
    }

    /// One random thing that is done to a random object.
    pub(super) fn use_object(&self, mm: &Mm, hold: &mut Option<Hold>, random: &mut Random) {
        self.any_view(random).use_any(mm, &self.space, hold, random);
    }

    /// One access to a random object, or a use of the page that is pinned.
    pub(super) fn access_object(&self, mm: &Mm, hold: &mut Option<Hold>, random: &mut Random) {
        self.any_view(random).access_any(mm, &self.space, hold, random);
    }

    /// One change of a random object, or of what is mapped of it.
    pub(super) fn change_object(&self, mm: &Mm, random: &mut Random) {
        self.any_view(random).change_any(mm, &self.space, random);
    }

    fn any_view(&self, random: &mut Random) -> &Arc<View> {
        &self.home.views[random.below(self.home.views.len() as u64) as usize]
    }

    /// The frame that a page of view `n` is mapped to now.
    pub(super) fn frame_of_view(&self, n: usize, page: usize) -> Option<Pfn> {
        self.home.views[n].frame(&self.space, page)
    }

    /// One random change of one random stretch of pages.
    pub(super) fn change_any(&self, mm: &Mm, random: &mut Random) {
        let n = random.below(self.home.areas.len() as u64) as usize;
        let area = &self.home.areas[n];
        let pages = stretch(random, area.len());
        if area.kind() == Kind::Heap && random.below(3) != 0 {
            self.move_heap_end(mm, area, pages.end);
        } else if area.kind() == Kind::Heap {
            area.change(mm, &self.space, pages, Change::Discard);
        } else {
            let change = match any_change(random) {
                Change::Populate(prot) if pages.len() > MOST_POPULATED => Change::Map(prot),
                change => change,
            };
            area.change(mm, &self.space, pages, change);
        }
    }

    /// Changes pages of area `n`.
    pub(super) fn change(&self, mm: &Mm, n: usize, pages: Range<usize>, change: Change) -> Changed {
        self.home.areas[n].change(mm, &self.space, pages, change)
    }

    /// Gives advice for all of area `n`, whatever comes of it.
    pub(super) fn advise(&self, mm: &Mm, n: usize, advice: Advice) {
        let area = &self.home.areas[n];
        let (start, end) = (area.va(0), area.va(area.len()));
        let _ = mm.madvise(&self.space, start.raw(), end.offset_from(start), advice);
    }

    /// The frame that a page of area `n` is mapped to now.
    pub(super) fn frame(&self, n: usize, page: usize) -> Option<Pfn> {
        let va = self.home.areas[n].va(page);
        let leaf = self.space.ptl.lock().walk(va).leaf()?;
        let offset = va.raw() & (leaf.level.entry_bytes() - 1);
        Some(leaf.desc.output(leaf.level).add(offset).pfn())
    }

    fn move_heap_end(&self, mm: &Mm, area: &Area, new: usize) {
        let old = self.home.heap.swap(MOVING, Ordering::SeqCst);
        if old == MOVING {
            return;
        }
        let moved = area.move_heap_end(mm, &self.space, old, new);
        self.home.heap.store(if moved == Changed::Yes { new } else { old }, Ordering::SeqCst);
    }
}

/// A stretch of `0..pages`: mostly short, at times all.
pub(super) fn stretch(random: &mut Random, pages: usize) -> Range<usize> {
    let start = random.below(pages as u64) as usize;
    let most = (pages - start) as u64;
    let len = match random.below(8) {
        0 => most,
        _ => 1 + random.below(most.min(4)),
    };
    start..start + len as usize
}

/// A change; mappings come about as often as they go.
pub(super) fn any_change(random: &mut Random) -> Change {
    match random.below(8) {
        0 => Change::Map(RW),
        1 => Change::Populate(RW),
        2 => Change::Unmap,
        3 => Change::Protect(MapProt::empty()),
        4 => Change::Protect(MapProt::READ),
        5 | 6 => Change::Protect(RW),
        _ => Change::Discard,
    }
}

/// Where a program's heap begins in the scenarios.
pub(super) const HEAP: u64 = 0x10_0000_0000;
