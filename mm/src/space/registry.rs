//! The live address spaces: from [`crate::Mm::new_space`] to the end of [`crate::Mm::destroy_space`].
//!
//! A list that is linked through the spaces themselves, so entering cannot fail. It owns a share of each.
//!
//! ```text
//!   Spaces.first --> [ space | next ] --> [ space | next ] --> nothing
//!      S                       L                     L
//! ```
//! S is held by whoever changes the list, so one change is made at a time; L, one a space, covers that space's link
//! and is held for the look at it only.
#![forbid(unsafe_code)]

use arch::sync::SpinLock;

use super::AddressSpace;
use crate::kalloc::KArc;
use crate::locks;

type Share = Option<KArc<AddressSpace>>;

/// The list of live address spaces.
pub struct Spaces {
    /// S.
    first: SpinLock<Share>,
}

/// A space's place in the list.
pub(super) struct Link {
    /// L. Nothing outside the list.
    next: SpinLock<Share>,
}

impl Link {
    /// In no list.
    pub(super) const fn new() -> Self {
        Link { next: SpinLock::new(locks::SPACE_LINK, None) }
    }
    fn next(&self) -> Share {
        self.next.lock().clone()
    }
    fn set(&self, next: Share) -> Share {
        core::mem::replace(&mut *self.next.lock(), next)
    }
}

impl Spaces {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Spaces { first: SpinLock::new(locks::SPACES, None) }
    }

    /// Takes a new space in.
    pub(super) fn insert(&self, space: &KArc<AddressSpace>) {
        let mut first = self.first.lock();
        let none = space.link.set(first.take());
        debug_assert!(none.is_none(), "address space {} is in the list already", space.id);
        *first = Some(space.clone());
    }

    /// Takes a space out, once. Its place is looked for from the front.
    pub(super) fn remove(&self, space: &AddressSpace) {
        let removed = {
            let mut first = self.first.lock();
            let next = space.link.set(None);
            let is_it = |share: &Share| share.as_ref().is_some_and(|other| other.id == space.id);
            if is_it(&first) {
                core::mem::replace(&mut *first, next)
            } else {
                let mut before = first.clone();
                while let Some(other) = before.as_ref().filter(|other| !is_it(&other.link.next())) {
                    let next = other.link.next();
                    before = next;
                }
                before.and_then(|other| other.link.set(next))
            }
        };
        debug_assert!(removed.is_some(), "address space {} is not in the list", space.id);
        drop(removed);
    }

    /// Tells `f` every live space, the youngest first. No lock is held while `f` runs. A space that ends
    /// meanwhile may end the walk early.
    ///
    /// # Errors
    /// What `f` says first.
    pub fn try_for_each<E>(&self, mut f: impl FnMut(&KArc<AddressSpace>) -> Result<(), E>) -> Result<(), E> {
        let mut at = self.first.lock().clone();
        while let Some(space) = at {
            f(&space)?;
            at = space.link.next();
        }
        Ok(())
    }

    /// The live space with this number.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<KArc<AddressSpace>> {
        let mut at = self.first.lock().clone();
        while let Some(space) = at.take_if(|space| space.id != id) {
            at = space.link.next();
        }
        at
    }
}

impl Default for Spaces {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Spaces {
    /// One by one: a list that drops its links from the inside out needs a stack as deep as it is long.
    fn drop(&mut self) {
        let mut at = self.first.get_mut().take();
        while let Some(space) = at {
            at = space.link.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mm;
    use crate::testkit;

    fn ids(mm: &Mm) -> Vec<u64> {
        let mut ids = Vec::new();
        let Ok(()) = mm.spaces.try_for_each::<core::convert::Infallible>(|space| {
            ids.push(space.id);
            Ok(())
        });
        ids
    }

    /// A space is found from its birth to its end, whichever place it has in the list, and the list and the lineage
    /// keep a share of it each.
    #[test]
    fn from_birth_to_end() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            testkit::boot(|mm| {
                let spaces = [(); 3].map(|()| mm.new_space().unwrap());
                assert_eq!(ids(mm), [spaces[2].id, spaces[1].id, spaces[0].id]);
                for (gone, n) in order.into_iter().enumerate() {
                    assert!(
                        mm.spaces.find(spaces[n].id).is_some_and(|found| KArc::ptr_eq(&found, &spaces[n]))
                    );
                    assert_eq!(KArc::owners(&spaces[n]), 3, "the list, the lineage and the test");
                    mm.destroy_space(&spaces[n]);
                    assert!(mm.spaces.find(spaces[n].id).is_none());
                    assert_eq!((KArc::owners(&spaces[n]), ids(mm).len()), (1, 2 - gone));
                }
            });
        }
    }
}
