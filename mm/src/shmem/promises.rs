//! Which hugetlb pages of an object the pool has promised, and that it has not got yet: a sorted list of ranges.
//!
//! ```text
//!   mmap [0, 4)  mmap [8, 10)      0..4  8..10
//!   a fault takes page 2           0..2  3..4  8..10
//!   truncation to 1                0..1
//! ```
//! A promise belongs to the object, not to the mapping that asked for it: munmap keeps it, another mapping of the same
//! pages needs no second one, and it ends with its page's first touch, with truncation, or with the object (Linux:
//! `resv_map`, `region_chg`, `region_add`, `region_del`).
#![forbid(unsafe_code)]

use core::ops::Range;

use allocator_api2::vec::Vec;

use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;

/// See the [module](self). Indices are in huge pages.
pub(super) struct Promises {
    /// Ascending, apart, not empty.
    ranges: Vec<Range<u64>, KAlloc>,
}

impl Promises {
    /// None.
    pub(super) const fn new() -> Self {
        Promises { ranges: Vec::new_in(KAlloc) }
    }
    /// How many.
    pub(super) fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
    /// Whether page `index` has one.
    pub(super) fn has(&self, index: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.end <= index);
        self.ranges.get(at).is_some_and(|range| range.contains(&index))
    }

    /// Room for so many more ranges: each change may need one.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn prepare(&mut self, more: usize) -> Result<(), OutOfMemory> {
        self.ranges.try_reserve(more).map_err(|_| OutOfMemory)
    }

    /// Page `index` is promised, which it was not. [`Self::prepare`] was called.
    pub(super) fn add(&mut self, index: u64) {
        let at = self.ranges.partition_point(|range| range.end < index);
        let before = self.ranges.get(at).is_some_and(|range| range.end == index);
        let next = at + usize::from(before);
        let after = self.ranges.get(next).is_some_and(|range| range.start == index + 1);
        match (before, after) {
            (true, true) => {
                self.ranges[at].end = self.ranges[next].end;
                self.ranges.remove(next);
            }
            (true, false) => self.ranges[at].end += 1,
            (false, true) => self.ranges[next].start -= 1,
            (false, false) => self.ranges.insert(at, index..index + 1),
        }
    }

    /// The promises for pages of `[start, end)` end. Returns how many there were. [`Self::prepare`] was called.
    pub(super) fn take(&mut self, pages: Range<u64>) -> u64 {
        let before = self.len();
        let mut at = self.ranges.partition_point(|range| range.end <= pages.start);
        while let Some(range) = self.ranges.get(at).cloned().filter(|range| range.start < pages.end) {
            let (left, right) = (range.start..pages.start, pages.end..range.end);
            match (left.is_empty(), right.is_empty()) {
                (true, true) => drop(self.ranges.remove(at)),
                (true, false) => self.ranges[at] = right,
                (false, true) => {
                    self.ranges[at] = left;
                    at += 1;
                }
                (false, false) => {
                    self.ranges[at] = left;
                    self.ranges.insert(at + 1, right);
                }
            }
            if self.ranges.get(at).is_some_and(|range| range.start >= pages.end) {
                break;
            }
        }
        before - self.len()
    }

    /// Puts a range behind the others, whatever they are: damage, for tests of the check.
    #[cfg(test)]
    pub(super) fn damage(&mut self, range: Range<u64>) {
        self.ranges.push(range);
    }

    /// Whether the ranges ascend, lie apart, and are not empty.
    pub(super) fn is_sound(&self) -> bool {
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
                if random.below(3) != 0 {
                    if set.insert(index) {
                        promises.add(index);
                    }
                } else {
                    let end = index + 1 + random.below(6);
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
