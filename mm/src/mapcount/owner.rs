//! Small numbers for address spaces, given out again when a space has ended.
//!
//! A folio has room for two owners with their counts, and a space's own number, which is never given out again, is too
//! wide for that. So each live space has a second one: the smallest that is free, from 1 on; 0 is nobody's. It is given
//! back when the space maps nothing any more, so no folio remembers it then (Linux: `mm_id`, from an IDA).
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::sync::SpinLock;

use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;
use crate::locks;

/// The small number of an address space: 1 to 2^31 - 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnerId(u32);

impl OwnerId {
    /// Numbers above this one would reach into the flags beside them.
    pub const MAX: u32 = (1 << 31) - 1;

    /// The number as the owner of something.
    ///
    /// # Errors
    /// `None` for 0 and for more than [`Self::MAX`].
    #[must_use]
    pub const fn new(raw: u32) -> Option<OwnerId> {
        if raw == 0 || raw > Self::MAX { None } else { Some(OwnerId(raw)) }
    }
    /// The number.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }
}

/// The numbers that are in use: one bit each.
struct Used {
    words: Vec<u64, KAlloc>,
    /// No number below this word's is free.
    first: usize,
}

/// Gives out owner numbers.
pub struct OwnerIds {
    used: SpinLock<Used>,
}

impl OwnerIds {
    /// None is in use.
    #[must_use]
    pub const fn new() -> Self {
        OwnerIds { used: SpinLock::new(locks::OWNER_IDS, Used { words: Vec::new_in(KAlloc), first: 0 }) }
    }

    /// The smallest number that is free.
    ///
    /// # Errors
    /// [`OutOfMemory`]: no memory to note it, or all 2^31 - 1 are in use.
    pub fn take(&self) -> Result<OwnerId, OutOfMemory> {
        let mut used = self.used.lock();
        let first = used.first;
        let found = used.words[first..].iter().position(|&word| word != u64::MAX);
        let at = match found {
            Some(n) => first + n,
            None => {
                used.words.try_reserve(1).map_err(|_| OutOfMemory)?;
                used.words.push(0);
                used.words.len() - 1
            }
        };
        let bit = (!used.words[at]).trailing_zeros();
        let id = u32::try_from(at * 64 + bit as usize + 1).ok().and_then(OwnerId::new).ok_or(OutOfMemory)?;
        used.words[at] |= 1 << bit;
        used.first = at;
        Ok(id)
    }

    /// Gives a number back. Its space maps nothing any more.
    pub fn give_back(&self, id: OwnerId) {
        let mut used = self.used.lock();
        let (at, bit) = ((id.0 - 1) as usize / 64, (id.0 - 1) % 64);
        if let Some(word) = used.words.get_mut(at) {
            debug_assert!(*word >> bit & 1 == 1, "owner {} is given back twice", id.0);
            *word &= !(1 << bit);
        }
        used.first = used.first.min(at);
    }
}

impl Default for OwnerIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use crate::testkit;

    /// The smallest free number is given out, and one that was given back comes again.
    #[test]
    fn the_smallest_is_given_out() {
        testkit::boot(|mm| {
            let before: Vec<_> = (0..130).map(|_| mm.owners.take().unwrap()).collect();
            assert!(before.windows(2).all(|pair| pair[1].raw() == pair[0].raw() + 1));
            for n in [5, 70, 129] {
                mm.owners.give_back(before[n]);
            }
            for n in [5, 70, 129] {
                assert_eq!(mm.owners.take().unwrap(), before[n]);
            }
            before.into_iter().for_each(|id| mm.owners.give_back(id));
        });
    }

    /// Two live spaces never have one number; a dead one's comes again.
    #[test]
    fn spaces_have_numbers_of_their_own() {
        testkit::boot(|mm| {
            let [first, second] = [(); 2].map(|()| mm.new_space().unwrap());
            assert_ne!(first.owner, second.owner);
            mm.destroy_space(&first);
            let third = mm.new_space().unwrap();
            assert_eq!(third.owner, first.owner);
            assert_ne!(third.id, first.id);
            [second, third].iter().for_each(|space| mm.destroy_space(space));
        });
    }
}
