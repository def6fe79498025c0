//! Who descends from whom by fork: the spaces that may map a page, found from the page.
//!
//! An anonymous page is born in one space, whose number stands in its `mapping`. Only fork hands it on, so it can be
//! mapped by that space and those that descend from it, and by nobody else. A space has a *node* from its birth on; the
//! nodes of one first space and of all that descend from it form a *tree* (Linux: `anon_vma`, whose trees of intervals
//! say the same of VMAs).
//!
//! ```text
//!   mapping of a page --> Lineages: by number --> node --> its space, and those of its descendants, parents first
//!
//!              [1 living]              1, 2, 4: what a page born in 1 is looked for in, in this order or
//!               /      \               1, 4, 2; a page born in 2 is looked for in 2's descendants: 3 is no more,
//!        [2 living]  [4 living]        and where nobody lives any more below a node, nothing is left of it
//!            |
//!        [3 gone, descendants gone: no node]
//! ```
//! **Guarantee.** A node lives as long as its space or any descendant does. While a lineage is held ([`Lineage::hold`])
//! no space of its tree is born or ends, and who moves entries within a space or copies them from a parent to a child
//! holds it for each step; so a visit that asks parents before children misses no entry, wherever it was meanwhile.
//!
//! **Memory.** The nodes of a tree stand in one array, and are linked by places in it: nothing here recurses, however
//! deep the tree. Only a birth needs memory. One lock a tree (rank 30), one a bucket of the numbers (rank 31), which
//! is taken last and for a look only.
#![forbid(unsafe_code)]

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use allocator_api2::vec::Vec;
use arch::sync::{SpinGuard, SpinLock};

use super::AddressSpace;
use crate::error::OutOfMemory;
use crate::kalloc::{KAlloc, KArc, try_array};
use crate::locks;

/// Chains of the numbers, each with its lock.
const BUCKETS: usize = 64;

/// No place in the array.
const NONE: usize = usize::MAX;

type Share = KArc<AddressSpace>;
type Nodes = KArc<Family>;

/// A tree, and what is known of it without its lock.
struct Family {
    /// G.
    tree: SpinLock<Tree>,
    /// Ranges of which its spaces have taken note ([`crate::thp::holes`]).
    notes: AtomicUsize,
    /// Pages of a space may stand at other addresses than in its relatives, since mremap. Set once.
    has_moved: AtomicBool,
}

impl Family {
    fn lock(&self) -> SpinGuard<'_, Tree> {
        self.tree.lock()
    }
}

/// Who has a node.
enum Occupant {
    /// Nobody: the node is on the tree's list of free ones.
    Nobody,
    /// A space that is being made.
    Expected,
    /// A live space.
    Living(Share),
    /// A space that has ended and has descendants.
    Gone,
}

/// One node of a tree. Free nodes are linked by `next`.
struct Node {
    id: u64,
    occupant: Occupant,
    parent: usize,
    first_child: usize,
    next: usize,
    before: usize,
}

/// All nodes of one tree.
struct Tree {
    nodes: Vec<Node, KAlloc>,
    free: usize,
}

impl Tree {
    const fn new() -> Self {
        Tree { nodes: Vec::new_in(KAlloc), free: NONE }
    }

    /// Makes room for one node more.
    fn prepare(&mut self) -> Result<(), OutOfMemory> {
        if self.free != NONE {
            return Ok(());
        }
        self.nodes.try_reserve(1).map_err(|_| OutOfMemory)
    }

    /// A new node below `parent`. Room has been made.
    fn add(&mut self, id: u64, parent: usize) -> usize {
        let mut node =
            Node { id, occupant: Occupant::Expected, parent, first_child: NONE, next: NONE, before: NONE };
        let place = if self.free == NONE { self.nodes.len() } else { self.free };
        if parent != NONE {
            node.next = core::mem::replace(&mut self.nodes[parent].first_child, place);
            if node.next != NONE {
                self.nodes[node.next].before = place;
            }
        }
        if place == self.nodes.len() {
            assert!(place < self.nodes.capacity(), "no room was made for the node of address space {id}");
            self.nodes.push(node);
        } else {
            self.free = core::mem::replace(&mut self.nodes[place], node).next;
        }
        place
    }

    /// Takes out a node without children; returns its parent.
    fn take_out(&mut self, place: usize) -> usize {
        let Node { parent, next, before, .. } = self.nodes[place];
        if next != NONE {
            self.nodes[next].before = before;
        }
        if before != NONE {
            self.nodes[before].next = next;
        } else if parent != NONE {
            self.nodes[parent].first_child = next;
        }
        let node = &mut self.nodes[place];
        (node.occupant, node.next) = (Occupant::Nobody, self.free);
        self.free = place;
        parent
    }

    /// Whether this is (still) the node of that space.
    fn is(&self, place: usize, id: u64) -> bool {
        let node = self.nodes.get(place);
        node.is_some_and(|node| node.id == id && !matches!(node.occupant, Occupant::Nobody))
    }

    /// The node after `at`, of `top` and all below it, parents before children.
    fn after(&self, top: usize, mut at: usize) -> Option<usize> {
        if self.nodes[at].first_child != NONE {
            return Some(self.nodes[at].first_child);
        }
        while at != top {
            if self.nodes[at].next != NONE {
                return Some(self.nodes[at].next);
            }
            at = self.nodes[at].parent;
        }
        None
    }
}

/// The node of one space, alive or not.
#[derive(Clone)]
pub struct Lineage {
    tree: Nodes,
    place: usize,
    id: u64,
}

impl Lineage {
    /// Its space has taken notes, which stand already. What the caller looks at from here on was given up by others
    /// before they looked for notes, or they find these.
    pub(crate) fn count_notes(&self, more: usize) {
        self.tree.notes.fetch_add(more, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Its space has forgotten notes.
    pub(crate) fn discount_notes(&self, fewer: usize) {
        self.tree.notes.fetch_sub(fewer, Ordering::Relaxed);
    }

    /// How many notes the spaces of the tree have, or more. The caller has given pages up: see [`Self::count_notes`].
    pub(crate) fn notes(&self) -> usize {
        fence(Ordering::SeqCst);
        self.tree.notes.load(Ordering::Relaxed)
    }

    /// Pages of its space are about to move to other addresses.
    pub(super) fn expect_moves(&self) {
        self.tree.has_moved.store(true, Ordering::Release);
    }

    /// Whether pages of any space of the tree may have moved to other addresses.
    pub(crate) fn may_have_moved(&self) -> bool {
        self.tree.has_moved.load(Ordering::Acquire)
    }

    /// Holds the tree: nobody is born into it, nobody ends, and no entry moves from one place to another.
    #[must_use]
    pub fn hold(&self) -> HeldLineage<'_> {
        HeldLineage { tree: self.tree.lock(), place: self.place, id: self.id }
    }

    /// Its space is made, and is visited from now on.
    pub(super) fn settle(&self, space: &Share) {
        debug_assert_eq!(space.id, self.id, "a space in another's node");
        self.tree.lock().nodes[self.place].occupant = Occupant::Living(space.clone());
    }
}

/// A lineage that is held; see [`Lineage::hold`]. A spinlock: who has it must not sleep.
pub struct HeldLineage<'l> {
    tree: SpinGuard<'l, Tree>,
    place: usize,
    id: u64,
}

impl HeldLineage<'_> {
    /// Asks `f` of the space of the node and of each that descends from it, as far as they live, parents before
    /// children, until it breaks. Nobody is asked where the node is gone, with all below.
    pub fn visit<B>(&self, mut f: impl FnMut(&KArc<AddressSpace>) -> ControlFlow<B>) -> ControlFlow<B> {
        let mut at = Some(self.place).filter(|&place| self.tree.is(place, self.id));
        while let Some(place) = at {
            if let Occupant::Living(space) = &self.tree.nodes[place].occupant {
                f(space)?;
            }
            at = self.tree.after(self.place, place);
        }
        ControlFlow::Continue(())
    }

    /// Whether the space of the node is that with number `id`, or descends from it.
    #[must_use]
    pub fn descends_from(&self, id: u64) -> bool {
        let mut at = self.place;
        while at != NONE && self.tree.nodes[at].id != id {
            at = self.tree.nodes[at].parent;
        }
        at != NONE
    }

    /// Tells `f` every other living space of the tree: all with whom that of the node may share pages, or may have.
    pub fn for_each_relative(&self, mut f: impl FnMut(&KArc<AddressSpace>)) {
        for node in &self.tree.nodes {
            if let Occupant::Living(space) = &node.occupant
                && space.id != self.id
            {
                f(space);
            }
        }
    }

    /// As [`Self::visit`], of all.
    pub fn for_each_descendant(&self, mut f: impl FnMut(&KArc<AddressSpace>)) {
        let ControlFlow::Continue(()) = self.visit(|space| -> ControlFlow<core::convert::Infallible> {
            f(space);
            ControlFlow::Continue(())
        });
    }
}

type Bucket = SpinLock<Vec<Lineage, KAlloc>>;

/// All nodes, by the numbers of their spaces.
pub struct Lineages {
    buckets: Vec<Bucket, KAlloc>,
}

impl Lineages {
    /// No nodes.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new() -> Result<Self, OutOfMemory> {
        let new = || SpinLock::new(locks::LINEAGE_INDEX, Vec::new_in(KAlloc));
        Ok(Lineages { buckets: try_array(BUCKETS, new)? })
    }

    fn bucket(&self, id: u64) -> &Bucket {
        &self.buckets[(id % BUCKETS as u64) as usize]
    }

    /// The node of the space with this number. `None`: there is none, since no space lives that could map what was born
    /// there. What is returned may be gone when it is held; then nobody is visited.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Lineage> {
        self.bucket(id).lock().iter().find(|lineage| lineage.id == id).cloned()
    }

    /// How many nodes there are, of live spaces and of others.
    #[must_use]
    pub fn count(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.lock().len()).sum()
    }

    /// A node of a tree of its own, for a first space that is to be made.
    pub(super) fn root(&self, id: u64) -> Result<Lineage, OutOfMemory> {
        let tree = SpinLock::new(locks::LINEAGE, Tree::new());
        let family = Family { tree, notes: AtomicUsize::new(0), has_moved: AtomicBool::new(false) };
        let tree = KArc::try_new(family)?;
        self.add(&tree, id, NONE)
    }

    /// A node below `parent`, whose space lives, for a child of it that is to be made.
    pub(super) fn child(&self, parent: &Lineage, id: u64) -> Result<Lineage, OutOfMemory> {
        self.add(&parent.tree, id, parent.place)
    }

    fn add(&self, tree: &Nodes, id: u64, parent: usize) -> Result<Lineage, OutOfMemory> {
        let mut nodes = tree.lock();
        nodes.prepare()?;
        let mut bucket = self.bucket(id).lock();
        bucket.try_reserve(1).map_err(|_| OutOfMemory)?;
        let lineage = Lineage { tree: tree.clone(), place: nodes.add(id, parent), id };
        bucket.push(lineage.clone());
        Ok(lineage)
    }

    /// The node's space has ended, or comes to nothing. The node goes, unless somebody descends from it, and with it
    /// those above that were kept for its sake alone.
    pub(crate) fn leave(&self, lineage: &Lineage) {
        let mut tree = lineage.tree.lock();
        let share = core::mem::replace(&mut tree.nodes[lineage.place].occupant, Occupant::Gone);
        let mut at = lineage.place;
        while at != NONE && tree.nodes[at].first_child == NONE {
            let Node { id, occupant: Occupant::Gone, .. } = tree.nodes[at] else { break };
            at = tree.take_out(at);
            self.forget(id);
        }
        drop(tree);
        drop(share);
    }

    /// The node itself, and so its tree, is the caller's to keep until he has let it go.
    fn forget(&self, id: u64) {
        let mut bucket = self.bucket(id).lock();
        if let Some(n) = bucket.iter().position(|lineage| lineage.id == id) {
            bucket.swap_remove(n);
        }
    }
}

impl Drop for Lineages {
    /// Spaces and nodes own each other until the space ends.
    fn drop(&mut self) {
        for lineage in self
            .buckets
            .iter_mut()
            .flat_map(|bucket| core::mem::replace(bucket.get_mut(), Vec::new_in(KAlloc)))
        {
            let node =
                core::mem::replace(&mut lineage.tree.lock().nodes[lineage.place].occupant, Occupant::Gone);
            drop(node);
        }
    }
}
