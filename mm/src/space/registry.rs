//! The live address spaces: from [`crate::Mm::new_space`] to the end of [`crate::Mm::destroy_space`].
//!
//! A list that is linked through the spaces themselves, so entering cannot fail. It owns a share of each.
//!
//! ```text
//!   Spaces.first --> [ space | next ] --> [ space | next ] --> nothing
//!      S            <-- before     L <----- before      L
//! ```
//! S is held by whoever changes the list, so one change is made at a time; L, one a space, covers that space's links
//! and is held for the look at them only.
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
    /// L.
    ends: SpinLock<Ends>,
}

/// Both neighbours; nothing outside the list.
struct Ends {
    before: Share,
    next: Share,
}

impl Link {
    /// In no list.
    pub(super) const fn new() -> Self {
        Link { ends: SpinLock::new(locks::SPACE_LINK, Ends { before: None, next: None }) }
    }
    fn next(&self) -> Share {
        self.ends.lock().next.clone()
    }
    fn set_next(&self, next: Share) -> Share {
        core::mem::replace(&mut self.ends.lock().next, next)
    }
    fn set_before(&self, before: Share) -> Share {
        core::mem::replace(&mut self.ends.lock().before, before)
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
        let next = first.replace(space.clone());
        if let Some(next) = &next {
            next.link.set_before(Some(space.clone()));
        }
        let none = space.link.set_next(next);
        debug_assert!(none.is_none(), "address space {} is in the list already", space.id);
    }

    /// Takes a space out, once.
    pub(super) fn remove(&self, space: &AddressSpace) {
        let mut first = self.first.lock();
        let (before, next) = (space.link.set_before(None), space.link.set_next(None));
        let from_next = next.as_ref().and_then(|next| next.link.set_before(before.clone()));
        let from_before = match &before {
            Some(before) => before.link.set_next(next),
            None => core::mem::replace(&mut *first, next),
        };
        drop(first);
        let it = from_before.as_ref().is_some_and(|share| share.id == space.id);
        debug_assert!(it, "address space {} is not in the list", space.id);
        drop((before, from_next, from_before));
    }

    /// Tells `f` every live space, the youngest first. No lock is held while `f` runs. A space that ends
    /// meanwhile may end the walk early.
    ///
    /// # Errors
    /// What `f` says first.
    pub fn try_for_each<E>(&self, mut f: impl FnMut(&KArc<AddressSpace>) -> Result<(), E>) -> Result<(), E> {
        let mut at = self.first();
        while let Some(space) = at {
            f(&space)?;
            at = self.after(&space);
        }
        Ok(())
    }

    /// The youngest live space.
    #[must_use]
    pub(crate) fn first(&self) -> Share {
        self.first.lock().clone()
    }
    /// The live space that was born before this one; none where this one has ended.
    #[must_use]
    pub(crate) fn after(&self, space: &AddressSpace) -> Share {
        space.link.next()
    }

    /// The live space with this number.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<KArc<AddressSpace>> {
        let mut at = self.first();
        while let Some(space) = at.take_if(|space| space.id != id) {
            at = self.after(&space);
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
            space.link.set_before(None);
            at = space.link.set_next(None);
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

    /// A space is found from its birth to its end, whichever place it has in the list, and nothing keeps a share of
    /// it after.
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
                    mm.destroy_space(&spaces[n]);
                    assert!(mm.spaces.find(spaces[n].id).is_none());
                    assert_eq!((KArc::owners(&spaces[n]), ids(mm).len()), (1, 2 - gone));
                }
            });
        }
    }
}
