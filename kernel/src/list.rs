//! Doubly linked lists of the elements of an array, by index: no memory of their own, and every step takes constant
//! time.
//!
//! An element is in at most one list at a time. The lists of one array share its links.
#![forbid(unsafe_code)]

/// No element.
const NONE: u16 = u16::MAX;

/// An element's neighbours.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    before: u16,
    after: u16,
}

impl Links {
    /// In no list.
    pub const NONE: Links = Links { before: NONE, after: NONE };
}

/// Something that can be in a list.
pub trait Linked {
    /// Its neighbours.
    fn links(&mut self) -> &mut Links;
}

/// First and last element of a list.
#[derive(Clone, Copy, Debug)]
pub struct List {
    first: u16,
    last: u16,
}

impl List {
    /// No elements.
    pub const EMPTY: List = List { first: NONE, last: NONE };

    /// The first element.
    pub fn first(&self) -> Option<u16> {
        (self.first != NONE).then_some(self.first)
    }

    /// The element after this one, which is in the list.
    pub fn after<T: Linked>(all: &mut [T], index: u16) -> Option<u16> {
        let after = links(all, index).after;
        (after != NONE).then_some(after)
    }

    /// Adds an element, which is in no list, as the last.
    pub fn push<T: Linked>(&mut self, all: &mut [T], index: u16) {
        *links(all, index) = Links { before: self.last, after: NONE };
        match self.last {
            NONE => self.first = index,
            last => links(all, last).after = index,
        }
        self.last = index;
    }

    /// Takes the first element out.
    pub fn pop<T: Linked>(&mut self, all: &mut [T]) -> Option<u16> {
        let first = self.first()?;
        self.remove(all, first);
        Some(first)
    }

    /// Takes an element out, which is in this list.
    pub fn remove<T: Linked>(&mut self, all: &mut [T], index: u16) {
        let Links { before, after } = core::mem::replace(links(all, index), Links::NONE);
        match before {
            NONE => self.first = after,
            before => links(all, before).after = after,
        }
        match after {
            NONE => self.last = before,
            after => links(all, after).before = before,
        }
    }
}

fn links<T: Linked>(all: &mut [T], index: u16) -> &mut Links {
    all[usize::from(index)].links()
}
