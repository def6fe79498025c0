//! A list of pages that knows its end: first come, first served, and removal anywhere. As [`PageList`] it needs no
//! memory of its own.
#![forbid(unsafe_code)]

use super::{PageList, PageRef};

/// A queue of pages; pushed at the end, looked at from the front.
#[derive(Debug, Default)]
pub struct PageQueue {
    list: PageList,
    last: Option<PageRef>,
}

impl PageQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        PageQueue { list: PageList::new(), last: None }
    }
    /// Pages in the queue.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.list.len()
    }
    /// Whether nothing is in the queue.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// Puts a page last. It must be on no list.
    pub fn push_last(&mut self, page: PageRef) {
        match self.last {
            Some(last) => self.list.push_behind(last, page),
            None => self.list.push(page),
        }
        self.last = Some(page);
    }
    /// Takes a page that is in this queue out.
    pub fn remove(&mut self, page: PageRef) {
        if self.last == Some(page) {
            self.last = self.list.before(page);
        }
        self.list.remove(page);
    }
    /// The first page whose link back does not lead to the page before it.
    #[must_use]
    pub fn broken_link(&self) -> Option<PageRef> {
        self.list.broken_link()
    }
    /// The pages, the one that waits longest first.
    pub fn iter(&self) -> impl Iterator<Item = PageRef> + '_ {
        self.list.iter()
    }
}
