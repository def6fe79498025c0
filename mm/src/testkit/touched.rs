//! Which struct pages an operation writes, and by how many atomic operations: counted at the one door to them.
//!
//! A struct page is a cache line. Each thread counts for itself what it does inside [`watch`].
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeSet;

use arch::VirtAddr;

use crate::mapcount::experiment::Meter;

/// What an operation did to struct pages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Touched {
    /// Atomic operations that read and write: additions, exchanges, bits set.
    pub atomics: u64,
    /// Struct pages that were written, by their address.
    pub lines: BTreeSet<u64>,
}

/// A meter that counts atomic operations and struct pages written.
#[derive(Clone, Copy, Debug)]
pub struct Touches;

impl Meter for Touches {
    fn measure(&mut self, operation: &mut dyn FnMut(), say: &mut dyn FnMut(&'static str, u64, &'static str)) {
        let ((), touched) = watch(operation);
        say("atomics", touched.atomics, "operations");
        say("lines", touched.lines.len() as u64, "struct_pages");
    }
}

/// How a struct page was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Write {
    /// By a plain store.
    Plain,
    /// By an atomic operation.
    Atomic,
}

std::thread_local! {
    static WATCHED: RefCell<Option<Touched>> = const { RefCell::new(None) };
}

/// Runs `f`, and says what it did to struct pages.
pub fn watch<R>(f: impl FnOnce() -> R) -> (R, Touched) {
    WATCHED.with_borrow_mut(|watched| *watched = Some(Touched::default()));
    let result = f();
    (result, WATCHED.with_borrow_mut(Option::take).unwrap_or_default())
}

/// The struct page at this address is written.
pub(crate) fn note(at: VirtAddr, write: Write) {
    WATCHED.with_borrow_mut(|watched| {
        if let Some(touched) = watched {
            touched.atomics += u64::from(write == Write::Atomic);
            touched.lines.insert(at.raw());
        }
    });
}
