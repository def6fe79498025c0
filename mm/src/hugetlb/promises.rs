//! Which hugetlb pages the pool has promised to an object, or to the private mappings of objects in a space, and that
//! those have not got yet: a sorted list of ranges.
//!
//! ```text
//!   mmap [0, 4)  mmap [8, 10)      0..4  8..10
//!   a fault takes page 2           0..2  3..4  8..10
//!   truncation to 1                0..1
//! ```
//! Of shared memory a promise belongs to the object, not to the mapping that asked for it: munmap keeps it, another
//! mapping of the same pages needs no second one, and it ends with its page's first touch, with truncation, or with the
//! object. Of private memory it belongs to the slot ([`super::owed`]). (Linux: `resv_map`, `region_chg`, `region_add`,
//! `region_del`.)
#![forbid(unsafe_code)]

use core::ops::Range;

use allocator_api2::vec::Vec;

use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;

/// See the [module](self). Indices are in huge pages.
pub(crate) struct Promises {
    /// Ascending, apart, not empty.
    ranges: Vec<Range<u64>, KAlloc>,
}

impl Promises {
    /// None.
    pub(crate) const fn new() -> Self {
        Promises { ranges: Vec::new_in(KAlloc) }
    }
    /// How many.
    pub(crate) fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
    /// Whether page `index` has one.
    pub(crate) fn has(&self, index: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.end <= index);
        self.ranges.get(at).is_some_and(|range| range.contains(&index))
    }

    /// Room for so many more ranges: each change may need one.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn prepare(&mut self, more: usize) -> Result<(), OutOfMemory> {
        self.ranges.try_reserve(more).map_err(|_| OutOfMemory)
    }

    /// How many pages of the range have one.
    pub(crate) fn count_in(&self, pages: Range<u64>) -> u64 {
        let shared =
            |range: &Range<u64>| range.end.min(pages.end).saturating_sub(range.start.max(pages.start));
        self.ranges.iter().map(shared).sum()
    }

    /// All pages of the range are promised, whichever of them were. [`Self::prepare`] was called.
    pub(crate) fn add(&mut self, pages: Range<u64>) {
        if pages.is_empty() {
            return;
        }
        // Those that it meets or touches become one with it.
        let first = self.ranges.partition_point(|range| range.end < pages.start);
        let end = self.ranges.partition_point(|range| range.start <= pages.end);
        let met = self.ranges[first..end]
            .iter()
            .fold(pages, |all, range| all.start.min(range.start)..all.end.max(range.end));
        self.ranges.drain(first..end);
        self.ranges.insert(first, met);
    }

    /// The promises for pages of `[start, end)` end. Returns how many there were. [`Self::prepare`] was called.
    pub(crate) fn take(&mut self, pages: Range<u64>) -> u64 {
        if pages.is_empty() {
            return 0;
        }
        let taken = self.count_in(pages.clone());
        let first = self.ranges.partition_point(|range| range.end <= pages.start);
        let end = self.ranges.partition_point(|range| range.start < pages.end);
        let met = &self.ranges[first..end];
        let (Some(low), Some(high)) = (met.first(), met.last()) else { return 0 };
        let rest = [low.start..pages.start, pages.end..high.end];
        self.ranges.drain(first..end);
        // The upper one first, so that both go to the same place.
        for left in rest.into_iter().rev().filter(|left| !left.is_empty()) {
            self.ranges.insert(first, left);
        }
        taken
    }

    /// The first range, as much of it as lies in `pages`. `None`: no page of them has a promise.
    pub(crate) fn first_in(&self, pages: Range<u64>) -> Option<Range<u64>> {
        let at = self.ranges.partition_point(|range| range.end <= pages.start);
        let range = self.ranges.get(at).filter(|range| range.start < pages.end)?;
        Some(range.start.max(pages.start)..range.end.min(pages.end))
    }

    /// Puts a range behind the others, whatever they are: damage, for tests of the check.
    #[cfg(test)]
    pub(crate) fn damage(&mut self, range: Range<u64>) {
        self.ranges.push(range);
    }

    /// Whether the ranges ascend, lie apart, and are not empty.
    pub(crate) fn is_sound(&self) -> bool {
        let apart = self.ranges.windows(2).all(|pair| pair[0].end < pair[1].start);
        apart && self.ranges.iter().all(|range| range.start < range.end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testkit::Random;

    /// Against a set of numbers, by random additions and removals.
    #[test]
    fn as_a_set_of_numbers() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let (mut promises, mut set) = (Promises::new(), BTreeSet::new());
            for _ in 0..100 {
                let index = random.below(24);
                promises.prepare(1).unwrap();
                // An empty range, and one that ends before it begins, are nothing.
                let end = (index + random.below(8)).saturating_sub(1);
                assert_eq!(promises.count_in(index..end), set.range(index..end.max(index)).count() as u64);
                if random.below(3) != 0 {
                    promises.add(index..end);
                    set.extend(index..end);
                } else {
                    let gone = (index..end).filter(|n| set.remove(n)).count() as u64;
                    assert_eq!(promises.take(index..end), gone, "seed {seed}");
                }
                assert!(promises.is_sound(), "seed {seed}: {:?}", promises.ranges);
                assert_eq!(promises.len(), set.len() as u64, "seed {seed}");
                assert!((0..32).all(|n| promises.has(n) == set.contains(&n)), "seed {seed}");
            }
        }
    }
}
