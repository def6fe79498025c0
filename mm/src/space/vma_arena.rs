//! Where the nodes of a tree of VMAs stand: chunks that never move, and a list of the free ones.
//!
//! ```text
//!   chunks   [ 32 nodes ] [ 32 nodes ] [ 7 nodes, room for 25 ]      taken from the end, once
//!   free     a chain through nodes that were given back              taken first
//! ```
//! Memory is asked for in [`Arena::reserve`] only, a chunk at a time, and given back when the arena goes.
#![forbid(unsafe_code)]

use core::num::NonZeroU32;
use core::ops::{Index, IndexMut};

use allocator_api2::vec::Vec;

use super::vma_tree::Node;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;

/// Nodes of a chunk.
const CHUNK: usize = 32;

/// The name of a node: its place, and one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Id(NonZeroU32);

impl Id {
    fn at(place: usize) -> Self {
        Id(NonZeroU32::MIN.saturating_add(place as u32))
    }
    fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Arena {
    chunks: Vec<Vec<Node, KAlloc>, KAlloc>,
    /// Nodes that were ever taken: the places below it hold one.
    used: usize,
    /// The first free one among them.
    free: Option<Id>,
    /// How many of them are free.
    spare: usize,
}

impl Arena {
    /// No nodes, and no memory.
    pub(super) const fn new() -> Self {
        Arena { chunks: Vec::new_in(KAlloc), used: 0, free: None, spare: 0 }
    }

    /// The same nodes at the same places, each changed by `change`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn try_clone(&self, change: impl Fn(&mut Node)) -> Result<Self, OutOfMemory> {
        let mut chunks = Vec::new_in(KAlloc);
        chunks.try_reserve_exact(self.chunks.len()).map_err(|_| OutOfMemory)?;
        for chunk in &self.chunks {
            let mut copy = new_chunk()?;
            copy.extend_from_slice(chunk);
            copy.iter_mut().for_each(&change);
            chunks.push(copy);
        }
        Ok(Arena { chunks, ..*self })
    }

    /// Makes room for `more` nodes.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what room was made stays.
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), OutOfMemory> {
        while self.spare + self.chunks.len() * CHUNK - self.used < more {
            let chunk = new_chunk()?;
            self.chunks.try_reserve(1).map_err(|_| OutOfMemory)?;
            self.chunks.push(chunk);
        }
        Ok(())
    }

    /// Takes a node, for which room has been made.
    ///
    /// # Panics
    /// There is no room.
    pub(super) fn take(&mut self, node: Node) -> Id {
        if let Some(id) = self.free {
            self.free = self[id].left;
            self.spare -= 1;
            self[id] = node;
            return id;
        }
        let id = Id::at(self.used);
        let Some(chunk) = self.chunks.get_mut(self.used / CHUNK) else {
            panic!("{}: no room was made for it", node.vma)
        };
        assert!(chunk.len() < chunk.capacity(), "{}: no room was made for it", node.vma);
        chunk.push(node);
        self.used += 1;
        id
    }

    /// Takes a node back.
    pub(super) fn give(&mut self, id: Id) {
        self[id].left = self.free;
        self.free = Some(id);
        self.spare += 1;
    }

    /// Takes all nodes back. The memory stays.
    pub(super) fn clear(&mut self) {
        self.chunks.iter_mut().for_each(Vec::clear);
        (self.used, self.free, self.spare) = (0, None, 0);
    }

    /// Every node, free ones too.
    #[cfg(test)]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut Node)> {
        self.chunks.iter_mut().flatten().enumerate().map(|(place, node)| (Id::at(place), node))
    }
}

/// Room for [`CHUNK`] nodes.
fn new_chunk() -> Result<Vec<Node, KAlloc>, OutOfMemory> {
    let mut chunk = Vec::new_in(KAlloc);
    chunk.try_reserve_exact(CHUNK).map_err(|_| OutOfMemory)?;
    Ok(chunk)
}

impl Index<Id> for Arena {
    type Output = Node;

    fn index(&self, id: Id) -> &Node {
        &self.chunks[id.place() / CHUNK][id.place() % CHUNK]
    }
}

impl IndexMut<Id> for Arena {
    fn index_mut(&mut self, id: Id) -> &mut Node {
        &mut self.chunks[id.place() / CHUNK][id.place() % CHUNK]
    }
}
