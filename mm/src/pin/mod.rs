//! Room 14: pinned user pages, for whoever reads or writes the memory itself.
//!
//! [`crate::Mm::pin_user_pages`] faults pages in, makes them the space's own, and counts a pin for each (Linux:
//! `pin_user_pages`, FOLL_PIN). From then on the space and the device see the same frame, whatever becomes of the
//! mapping, until [`crate::Mm::unpin`].
//!
//! ```text
//!   process      VA --> entry --.
//!                                >--> frame     neither fork, nor promotion, nor migration puts another one
//!   device   PinnedPages -------'               in the place of either
//! ```
//! **What is refused.** Special entries, which have no struct page to count in: EFAULT. What a fault refuses: EFAULT, or
//! ENOMEM where memory is out. A folio with [`MOST_PINS`] pins: ENOMEM. Nothing stays pinned then.
//!
//! **Exclusive first.** A private page that other spaces map too, or the page of zeros, is not pinned: a write of the
//! process would later put a copy in its place, and the device would go on with a page that the process does not have
//! any more. So it is copied before, also to be read only, and also where the VMA is not writable (Linux: unsharing,
//! `FAULT_FLAG_UNSHARE`). From this follows what all others rely on: *a pinned anonymous page is mapped by one space*.
//! A page of an object is shared by nature and pinned as it is; in a private VMA, it is copied first.
//!
//! **Lock.** M for reading, so that no fork comes between the look at the page and its pin; the pin itself is counted
//! under T. There is no path without locks.
//!
//! [`MOST_PINS`]: crate::page::MOST_PINS
#![forbid(unsafe_code)]

mod pages;
#[cfg(test)]
mod tests;

pub use pages::{PinError, PinnedPages};
