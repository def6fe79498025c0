//! A balanced tree of disjoint VMAs that knows its gaps.
//!
//! An AVL tree, ordered by address, whose nodes stand in an [`Arena`]. Each node sums its subtree up: how high it is,
//! where its addresses begin and end, and the widest gap between two of its VMAs. So everything here, the search for a
//! gap too, takes a number of steps that is logarithmic in the number of VMAs.
//!
//! ```text
//!                 [ d ]  first = a.start, last = e.end, widest = max(b..d)
//!               /       \
//!   first: a [ b ]     [ e ]           a gap below a subtree's first VMA, or above its last one,
//!           /                          is its parent's to see
//!        [ a ]
//! ```
//! **Guarantee.** A change takes memory only in [`VmaTree::reserve`], so what follows cannot fail. The guard gap of a
//! VMA that grows down counts as its own wherever gaps are looked at ([`Vma::guard_start`]).
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::cmp::Ordering;

use arch::{PageSize, VirtAddr};

use super::vma::Vma;
use super::vma_arena::{Arena, Id};
use crate::error::OutOfMemory;

/// Where a mapping may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Alignment {
    /// At any page.
    Page,
    /// At a multiple of 2 MiB.
    Block,
}

impl Alignment {
    const ALL: [Alignment; 2] = [Alignment::Page, Alignment::Block];

    const fn bytes(self) -> u64 {
        match self {
            Alignment::Page => PageSize::Size4K.bytes(),
            Alignment::Block => PageSize::Size2M.bytes(),
        }
    }
    /// Bytes from the first aligned address at or above `from` up to `to`.
    fn room(self, from: VirtAddr, to: VirtAddr) -> u64 {
        to.raw().saturating_sub(from.align_up(self.bytes()).raw())
    }
    /// The highest aligned address at which `bytes` bytes fit into `[from, to)`.
    fn highest(self, from: VirtAddr, to: VirtAddr, bytes: u64) -> Option<VirtAddr> {
        let start = VirtAddr::new(to.raw().checked_sub(bytes)?).align_down(self.bytes());
        (start >= from).then_some(start)
    }
}

/// What is asked of a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Bytes, a multiple of 4 KiB.
    pub(super) bytes: u64,
    /// Where it may begin.
    pub(super) alignment: Alignment,
}

/// What a node says of its subtree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Summary {
    /// The guard start of its first VMA.
    first: VirtAddr,
    /// The end of its last VMA.
    last: VirtAddr,
    /// The most room between two of its VMAs that are neighbours, for each [`Alignment`].
    widest: [u64; Alignment::ALL.len()],
    /// Nodes on the longest way down.
    height: u8,
}

/// One VMA in the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) vma: Vma,
    /// Below the VMA. In a free node: the next free one.
    pub(super) left: Option<Id>,
    right: Option<Id>,
    sum: Summary,
}

impl Node {
    fn new(vma: Vma) -> Self {
        let sum =
            Summary { first: vma.guard_start(), last: vma.end, widest: [0; Alignment::ALL.len()], height: 1 };
        Node { vma, left: None, right: None, sum }
    }
}

/// Most nodes on a way down: 1.45 times the base-2 logarithm of the number of VMAs, rounded up.
const DEPTH: usize = 28;

/// Nodes from the root down.
pub(super) struct Way {
    ids: [Option<Id>; DEPTH],
    len: usize,
}

impl Way {
    fn new() -> Self {
        Way { ids: [None; DEPTH], len: 0 }
    }
    fn push(&mut self, id: Id) {
        self.ids[self.len] = Some(id);
        self.len += 1;
    }
    fn pop(&mut self) -> Option<Id> {
        let last = self.last()?;
        self.len -= 1;
        Some(last)
    }
    fn last(&self) -> Option<Id> {
        self.ids[self.len.checked_sub(1)?]
    }
}

/// Where a VMA would come in.
pub(super) struct Place<'t> {
    /// The way to where it would hang.
    pub(super) way: Way,
    /// The VMA below it, and the one above.
    pub(super) before: Option<&'t Vma>,
    pub(super) next: Option<&'t Vma>,
    /// Whether neither has any of its addresses.
    pub(super) is_free: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct VmaTree {
    nodes: Arena,
    root: Option<Id>,
    len: usize,
    /// VMAs whose pages stand elsewhere than at their linear index.
    moved: usize,
    /// What was found last, as the next look is often for the same.
    found: Cell<Option<Id>>,
}

impl VmaTree {
    /// No VMAs, and no memory.
    pub(super) const fn new() -> Self {
        VmaTree { nodes: Arena::new(), root: None, len: 0, moved: 0, found: Cell::new(None) }
    }
    /// How many VMAs there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }
    /// How many of them are moved ([`Vma::is_moved`]).
    pub(super) fn moved(&self) -> usize {
        self.moved
    }
    /// The same tree of the same VMAs, each changed by `change`, which leaves its addresses and its index as they are.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn try_clone(&self, change: impl Fn(&mut Vma)) -> Result<Self, OutOfMemory> {
        let nodes = self.nodes.try_clone(|node| change(&mut node.vma))?;
        Ok(VmaTree { nodes, found: self.found.clone(), ..*self })
    }
    /// Makes room for `more` VMAs.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the tree is as it was.
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), OutOfMemory> {
        self.nodes.reserve(more)
    }

    /// What was found last, where it holds `va`.
    #[inline]
    pub(super) fn found(&self, va: VirtAddr) -> Option<&Vma> {
        let vma = &self.nodes[self.found.get()?].vma;
        vma.contains(va).then_some(vma)
    }

    /// The first VMA that ends above `va`.
    pub(super) fn find(&self, va: VirtAddr) -> Option<&Vma> {
        self.found(va).or_else(|| self.search(va))
    }

    /// The same, from the root down.
    fn search(&self, va: VirtAddr) -> Option<&Vma> {
        let (mut at, mut best) = (self.root, None);
        while let Some(id) = at {
            let node = &self.nodes[id];
            at = if va < node.vma.end {
                best = Some(id);
                if node.vma.start <= va {
                    break;
                }
                node.left
            } else {
                node.right
            };
        }
        self.found.set(best);
        best.map(|id| &self.nodes[id].vma)
    }

    /// The last VMA that begins below `va`.
    pub(super) fn find_below(&self, va: VirtAddr) -> Option<&Vma> {
        let (mut at, mut best) = (self.root, None);
        while let Some(id) = at {
            let node = &self.nodes[id];
            at = if node.vma.start < va {
                best = Some(&node.vma);
                node.right
            } else {
                node.left
            };
        }
        best
    }

    /// The way from the root to the VMA that begins at `start`, or to where it would hang.
    fn way_to(&self, start: VirtAddr) -> Way {
        let (mut way, mut at) = (Way::new(), self.root);
        while let Some(id) = at {
            way.push(id);
            let node = &self.nodes[id];
            at = match start.cmp(&node.vma.start) {
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
                Ordering::Equal => return way,
            };
        }
        way
    }

    /// The place of a VMA that is to come in, found in one way down.
    pub(super) fn place_for(&self, vma: &Vma) -> Place<'_> {
        let (mut way, mut at) = (Way::new(), self.root);
        let (mut before, mut next) = (None, None);
        while let Some(id) = at {
            way.push(id);
            let node = &self.nodes[id];
            at = if node.vma.start < vma.start {
                before = Some(&node.vma);
                node.right
            } else {
                next = Some(&node.vma);
                node.left
            };
        }
        let is_free = before.is_none_or(|before| before.end <= vma.start)
            && next.is_none_or(|next| vma.end <= next.start);
        Place { way, before, next, is_free }
    }

    /// Puts a VMA in whose addresses are free. Room has been made.
    pub(super) fn insert(&mut self, vma: Vma) {
        let way = self.way_to(vma.start);
        self.insert_at(way, vma);
    }

    /// The same, where the way to it is known ([`Self::place_for`]).
    pub(super) fn insert_at(&mut self, way: Way, vma: Vma) {
        let id = self.nodes.take(Node::new(vma));
        match way.last() {
            None => self.root = Some(id),
            Some(above) if vma.start < self.nodes[above].vma.start => self.nodes[above].left = Some(id),
            Some(above) => self.nodes[above].right = Some(id),
        }
        self.settle(way, DEPTH);
        self.len += 1;
        self.moved += usize::from(vma.is_moved());
    }

    /// Takes the VMA out that begins at `start`, where there is one.
    pub(super) fn remove(&mut self, start: VirtAddr) -> Option<Vma> {
        let mut way = self.way_to(start);
        let at = way.last().filter(|&id| self.nodes[id].vma.start == start)?;
        let Node { vma, left, right, .. } = self.nodes[at];
        let depth = way.len;
        let leaves = match (left, right) {
            (Some(_), Some(right)) => {
                // The next VMA moves into this node, and its own node, which has nothing below, leaves.
                let mut next = Some(right);
                while let Some(id) = next {
                    way.push(id);
                    next = self.nodes[id].left;
                }
                way.last()?
            }
            _ => at,
        };
        way.pop();
        self.nodes[at].vma = self.nodes[leaves].vma;
        let Node { left, right, .. } = self.nodes[leaves];
        self.relink(way.last(), leaves, left.or(right));
        self.nodes.give(leaves);
        self.settle(way, if leaves == at { DEPTH } else { depth });
        self.found.set(None);
        self.len -= 1;
        self.moved -= usize::from(vma.is_moved());
        Some(vma)
    }

    /// Changes the VMA that begins at `start`. Its neighbours stay its neighbours.
    pub(super) fn edit(&mut self, start: VirtAddr, change: impl FnOnce(&mut Vma)) {
        let way = self.way_to(start);
        let Some(at) = way.last().filter(|&id| self.nodes[id].vma.start == start) else { return };
        let vma = &mut self.nodes[at].vma;
        let before = *vma;
        change(vma);
        let after = *vma;
        self.moved = self.moved + usize::from(after.is_moved()) - usize::from(before.is_moved());
        if (before.guard_start(), before.end) != (after.guard_start(), after.end) {
            self.settle(way, DEPTH);
        }
    }

    /// Hangs `new` where `old` hung, below the node `above` or as the root.
    fn relink(&mut self, above: Option<Id>, old: Id, new: Option<Id>) {
        let place = match above {
            None => &mut self.root,
            Some(above) => {
                let node = &mut self.nodes[above];
                if node.left == Some(old) { &mut node.left } else { &mut node.right }
            }
        };
        *place = new;
    }

    /// Brings all nodes of a way into balance and sums them up, the lowest first. Where nothing changes any more, above
    /// the node number `changed` of the way, the rest is right as it is.
    fn settle(&mut self, mut way: Way, changed: usize) {
        while let Some(at) = way.pop() {
            let before = self.nodes[at].sum;
            let top = self.balance(at);
            if top != at {
                self.relink(way.last(), at, Some(top));
            }
            if self.nodes[top].sum == before && way.len < changed {
                return;
            }
        }
    }

    /// Forgets all VMAs.
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.found.set(None);
        (self.root, self.len, self.moved) = (None, 0, 0);
    }

    /// The highest address for a mapping in `[low, high)`. A VMA that grows down keeps its guard gap free of what is
    /// put next to it.
    pub(super) fn highest_gap(&self, low: VirtAddr, high: VirtAddr, wish: Wish) -> Option<VirtAddr> {
        self.highest_below(self.root, (low, high), (low, high), wish)
    }

    /// The same, where the subtree has its neighbours' ends at `from` and `to`.
    fn highest_below(
        &self,
        at: Option<Id>,
        (low, high): (VirtAddr, VirtAddr),
        (from, to): (VirtAddr, VirtAddr),
        wish: Wish,
    ) -> Option<VirtAddr> {
        let Wish { bytes, alignment } = wish;
        let Some(id) = at else { return alignment.highest(from.max(low), to.min(high), bytes) };
        let Node { vma, left, right, sum } = &self.nodes[id];
        let possible = sum.widest[alignment as usize] >= bytes
            || alignment.room(from.max(low), sum.first.min(high)) >= bytes
            || alignment.room(sum.last.max(low), to.min(high)) >= bytes;
        if !possible || from >= high {
            return None;
        }
        if let found @ Some(_) = self.highest_below(*right, (low, high), (vma.end, to), wish) {
            return found;
        }
        if vma.start <= low {
            return None;
        }
        self.highest_below(*left, (low, high), (from, vma.guard_start()), wish)
    }

    fn height(&self, at: Option<Id>) -> u8 {
        at.map_or(0, |id| self.nodes[id].sum.height)
    }

    /// Brings a node, whose sides differ in height by two at most, back into balance. Returns who stands there now.
    fn balance(&mut self, at: Id) -> Id {
        let Node { left, right, .. } = &self.nodes[at];
        let (left, right) = (*left, *right);
        match (left, right) {
            (Some(side), _) if self.height(left) > self.height(right) + 1 => {
                let Node { left: outer, right: inner, .. } = &self.nodes[side];
                if self.height(*outer) < self.height(*inner) {
                    let inner = self.turn_left(side);
                    self.nodes[at].left = Some(inner);
                }
                self.turn_right(at)
            }
            (_, Some(side)) if self.height(right) > self.height(left) + 1 => {
                let Node { left: inner, right: outer, .. } = &self.nodes[side];
                if self.height(*outer) < self.height(*inner) {
                    let inner = self.turn_right(side);
                    self.nodes[at].right = Some(inner);
                }
                self.turn_left(at)
            }
            _ => {
                self.sum_up(at);
                at
            }
        }
    }

    /// The left side of `at` takes its place, and has it on its right.
    fn turn_right(&mut self, at: Id) -> Id {
        let Some(side) = self.nodes[at].left else { return at };
        self.nodes[at].left = self.nodes[side].right;
        self.nodes[side].right = Some(at);
        self.sum_up(at);
        self.sum_up(side);
        side
    }

    /// The right side of `at` takes its place, and has it on its left.
    fn turn_left(&mut self, at: Id) -> Id {
        let Some(side) = self.nodes[at].right else { return at };
        self.nodes[at].right = self.nodes[side].left;
        self.nodes[side].left = Some(at);
        self.sum_up(at);
        self.sum_up(side);
        side
    }

    /// Writes a node's summary anew, from its sides.
    fn sum_up(&mut self, at: Id) {
        let sum = self.summary(at);
        self.nodes[at].sum = sum;
    }

    fn summary(&self, at: Id) -> Summary {
        let Node { vma, left, right, .. } = &self.nodes[at];
        let mut sum = Node::new(*vma).sum;
        let mut widen = |side: &Summary, from: VirtAddr, to: VirtAddr| {
            for alignment in Alignment::ALL {
                let widest = &mut sum.widest[alignment as usize];
                *widest = alignment.room(from, to).max(side.widest[alignment as usize]).max(*widest);
            }
            sum.height = sum.height.max(side.height + 1);
        };
        let (left, right) = (left.map(|id| &self.nodes[id].sum), right.map(|id| &self.nodes[id].sum));
        if let Some(left) = left {
            widen(left, left.last, vma.guard_start());
        }
        if let Some(right) = right {
            widen(right, vma.end, right.first);
        }
        sum.first = left.map_or(sum.first, |left| left.first);
        sum.last = right.map_or(sum.last, |right| right.last);
        sum
    }

    /// Whether every node says the truth about its subtree, and every side is as high as it may be.
    pub(super) fn is_sound(&self) -> bool {
        let mut counted = 0;
        self.is_sound_below(self.root, &mut counted) && counted == self.len
    }

    fn is_sound_below(&self, at: Option<Id>, counted: &mut usize) -> bool {
        let Some(id) = at else { return true };
        *counted += 1;
        let Node { left, right, sum, .. } = &self.nodes[id];
        *sum == self.summary(id)
            && self.height(*left).abs_diff(self.height(*right)) <= 1
            && self.is_sound_below(*left, counted)
            && self.is_sound_below(*right, counted)
    }

    /// All VMAs by address, to be damaged by tests of the check.
    #[cfg(test)]
    pub(super) fn raw(&mut self) -> std::vec::Vec<&mut Vma> {
        fn collect(tree: &VmaTree, at: Option<Id>, into: &mut std::vec::Vec<Id>) {
            let Some(id) = at else { return };
            collect(tree, tree.nodes[id].left, into);
            into.push(id);
            collect(tree, tree.nodes[id].right, into);
        }
        let mut order = std::vec::Vec::new();
        collect(self, self.root, &mut order);
        let place = |id: Id| order.iter().position(|&other| other == id);
        let mut vmas: std::vec::Vec<_> =
            self.nodes.iter_mut().filter_map(|(id, node)| Some((place(id)?, &mut node.vma))).collect();
        vmas.sort_by_key(|(place, _)| *place);
        vmas.into_iter().map(|(_, vma)| vma).collect()
    }
}
