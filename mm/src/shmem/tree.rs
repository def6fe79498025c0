//! The pages of an object, by their index: a radix tree of nodes with 64 places each (Linux: `xarray`).
//!
//! ```text
//!   index   ...  17 12 | 11  6 | 5   0
//!                  |       |       `-- place in the leaf node: a page
//!                  |       `---------- place in the node above: a node
//!                  `------------------ and so on; the root has as many levels as the highest index asks for
//! ```
//! Looking up, putting in and taking out take one step a level: at most nine, as an index has at most 52 bits. Nodes
//! without entries are freed. Only putting in needs memory, and says so.
#![forbid(unsafe_code)]

use core::ops::Range;

use allocator_api2::boxed::Box;

use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;
use crate::page::{FolioRef, PageRef};

/// Bits of the index that one node looks at.
const BITS: u32 = 6;
/// Places of a node.
const PLACES: usize = 1 << BITS;

type Child = Option<Box<Node, KAlloc>>;

/// What the places of a node hold.
#[expect(
    clippy::large_enum_variant,
    reason = "of 64 nodes, one has places for nodes, and leaves half of its memory"
)]
enum Places {
    /// Nodes of the level below.
    Nodes([Child; PLACES]),
    /// Pages.
    Pages([Option<FolioRef>; PLACES]),
}

/// A node, and how many of its places are in use.
struct Node {
    places: Places,
    used: usize,
}

/// The pages of one object, each with a reference.
pub(super) struct PageTree {
    root: Child,
    /// Levels of the tree; an index must have no more than 6 bits for each.
    levels: u32,
    pages: u64,
}

/// The place of `index` in a node that stands `level` levels above the leaves.
const fn place(index: u64, level: u32) -> usize {
    (index >> (level * BITS)) as usize % PLACES
}

/// The lowest index that a node `level` levels above the leaves does not reach, if it is the root.
fn reach(levels: u32) -> u64 {
    1u64.checked_shl(levels * BITS).unwrap_or(u64::MAX)
}

impl Node {
    /// An empty node, `level` levels above the leaves.
    fn new(level: u32) -> Result<Box<Node, KAlloc>, OutOfMemory> {
        let places = match level {
            0 => Places::Pages([const { None }; PLACES]),
            _ => Places::Nodes([const { None }; PLACES]),
        };
        Box::try_new_in(Node { places, used: 0 }, KAlloc).map_err(|_| OutOfMemory)
    }

    fn get(&self, index: u64, level: u32) -> Option<PageRef> {
        match &self.places {
            Places::Nodes(nodes) => nodes[place(index, level)].as_ref()?.get(index, level - 1),
            Places::Pages(pages) => pages[place(index, level)].as_ref().map(FolioRef::page),
        }
    }

    /// Puts a page in; gives it back where there is no memory. New nodes are linked once all of them are there.
    fn insert(&mut self, index: u64, level: u32, page: FolioRef) -> Result<(), FolioRef> {
        match &mut self.places {
            Places::Nodes(nodes) => match &mut nodes[place(index, level)] {
                Some(node) => node.insert(index, level - 1, page),
                empty => {
                    let Ok(mut node) = Node::new(level - 1) else { return Err(page) };
                    node.insert(index, level - 1, page)?;
                    *empty = Some(node);
                    self.used += 1;
                    Ok(())
                }
            },
            Places::Pages(pages) => {
                let place = &mut pages[place(index, level)];
                debug_assert!(place.is_none(), "index {index} has a page already");
                *place = Some(page);
                self.used += 1;
                Ok(())
            }
        }
    }

    /// The lowest index of a page that is `from` or more, of those below this node, whose lowest is `base`.
    fn first_from(&self, from: u64, base: u64, level: u32) -> Option<u64> {
        let first = if from > base { place(from, level) } else { 0 };
        (first..PLACES).find_map(|n| {
            let here = base + ((n as u64) << (level * BITS));
            match &self.places {
                Places::Pages(pages) => pages[n].as_ref().map(|_| here),
                Places::Nodes(nodes) => nodes[n].as_ref()?.first_from(from, here, level - 1),
            }
        })
    }

    /// Takes a page out, and frees the node below that becomes empty.
    fn take(&mut self, index: u64, level: u32) -> Option<FolioRef> {
        let n = place(index, level);
        let (taken, empty) = match &mut self.places {
            Places::Pages(pages) => (pages[n].take()?, true),
            Places::Nodes(nodes) => {
                let node = nodes[n].as_mut()?;
                let taken = node.take(index, level - 1)?;
                let empty = node.used == 0;
                if empty {
                    nodes[n] = None;
                }
                (taken, empty)
            }
        };
        self.used -= usize::from(empty);
        Some(taken)
    }

    fn replace(&mut self, index: u64, level: u32, page: FolioRef) -> Result<FolioRef, FolioRef> {
        match &mut self.places {
            Places::Nodes(nodes) => match &mut nodes[place(index, level)] {
                Some(node) => node.replace(index, level - 1, page),
                None => Err(page),
            },
            Places::Pages(pages) => match &mut pages[place(index, level)] {
                Some(here) => Ok(core::mem::replace(here, page)),
                None => Err(page),
            },
        }
    }

    fn for_each(&self, base: u64, level: u32, f: &mut impl FnMut(u64, PageRef)) {
        let at = |n: usize| base + ((n as u64) << (level * BITS));
        match &self.places {
            Places::Pages(pages) => {
                for (n, page) in pages.iter().enumerate() {
                    page.iter().for_each(|page| f(at(n), page.page()));
                }
            }
            Places::Nodes(nodes) => {
                for (n, node) in nodes.iter().enumerate() {
                    node.iter().for_each(|node| node.for_each(at(n), level - 1, f));
                }
            }
        }
    }
}

impl PageTree {
    /// No pages.
    pub(super) const fn new() -> Self {
        PageTree { root: None, levels: 0, pages: 0 }
    }
    /// How many pages there are.
    pub(super) fn len(&self) -> u64 {
        self.pages
    }
    /// The page with this index.
    pub(super) fn get(&self, index: u64) -> Option<PageRef> {
        if index >= reach(self.levels) {
            return None;
        }
        self.root.as_ref()?.get(index, self.levels - 1)
    }

    /// Puts in the page with this index, which has none.
    ///
    /// # Errors
    /// The page itself: no memory for a node.
    pub(super) fn insert(&mut self, index: u64, page: FolioRef) -> Result<(), FolioRef> {
        let inserted = self.insert_grown(index, page);
        match inserted {
            Ok(()) => self.pages += 1,
            Err(_) => self.drop_if_empty(),
        }
        inserted
    }

    fn insert_grown(&mut self, index: u64, page: FolioRef) -> Result<(), FolioRef> {
        match (self.grow(index), &mut self.root) {
            (Ok(()), Some(root)) => root.insert(index, self.levels - 1, page),
            _ => Err(page),
        }
    }

    fn drop_if_empty(&mut self) {
        if self.pages == 0 {
            *self = PageTree::new();
        }
    }

    /// Gives the tree as many levels as `index` asks for.
    fn grow(&mut self, index: u64) -> Result<(), OutOfMemory> {
        if self.root.is_none() {
            let levels = (1..).find(|&levels| index < reach(levels)).ok_or(OutOfMemory)?;
            self.root = Some(Node::new(levels - 1)?);
            self.levels = levels;
        }
        while index >= reach(self.levels) {
            let mut above = Node::new(self.levels)?;
            if let Places::Nodes(nodes) = &mut above.places {
                nodes[0] = self.root.take();
                above.used = 1;
            }
            self.root = Some(above);
            self.levels += 1;
        }
        Ok(())
    }

    /// Puts a page in the place of the one with this index, which is returned.
    ///
    /// # Errors
    /// The page itself: there is none with this index.
    pub(super) fn replace(&mut self, index: u64, page: FolioRef) -> Result<FolioRef, FolioRef> {
        match &mut self.root {
            Some(root) if index < reach(self.levels) => root.replace(index, self.levels - 1, page),
            _ => Err(page),
        }
    }

    /// Takes the first page out whose index is in `[from, end)`, and says which.
    pub(super) fn take_first(&mut self, from: u64, end: u64) -> Option<(u64, FolioRef)> {
        let index = self.first_from(from).filter(|&index| index < end)?;
        let page = self.root.as_mut()?.take(index, self.levels - 1)?;
        self.pages -= 1;
        self.drop_if_empty();
        Some((index, page))
    }

    /// The lowest index of a page that is `from` or more.
    fn first_from(&self, from: u64) -> Option<u64> {
        if from >= reach(self.levels) {
            return None;
        }
        self.root.as_ref()?.first_from(from, 0, self.levels - 1)
    }

    /// The indices of pages in the range, lowest first.
    pub(super) fn numbers_in(&self, range: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        let next = move |from: u64| self.first_from(from).filter(|&index| index < range.end);
        core::iter::successors(next(range.start), move |&index| next(index + 1))
    }

    /// Tells `f` every page and its index, lowest first.
    pub(super) fn for_each(&self, mut f: impl FnMut(u64, PageRef)) {
        if let Some(root) = &self.root {
            root.for_each(0, self.levels - 1, &mut f);
        }
    }
}
