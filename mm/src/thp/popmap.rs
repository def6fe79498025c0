//! The population map: which of the 512 pages of a block are populated.
#![forbid(unsafe_code)]

use arch::Order;
use arch::contiguous::CONT_ENTRIES;

/// Pages of a block.
pub const PAGES: usize = Order::PMD.pages() as usize;
/// 64-bit words of a map.
pub const WORDS: usize = PAGES / 64;

/// 512 bits; bit `i` stands for page `i` of the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Popmap([u64; WORDS]);

impl Popmap {
    /// No bit set.
    pub const EMPTY: Popmap = Popmap([0; WORDS]);

    /// The map with these words, the lowest 64 pages first.
    #[must_use]
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        Popmap(words)
    }
    /// Word `n`, 0..=7: pages 64 `n` to 64 `n` + 63.
    #[must_use]
    pub const fn word(&self, n: usize) -> u64 {
        self.0[n]
    }
    /// Whether bit `i` (0..=511) is set.
    #[must_use]
    pub const fn contains(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 != 0
    }
    /// Whether the `n` bits from bit `i` on, as far as there are any, are clear.
    #[must_use]
    pub fn is_clear(&self, i: usize, n: usize) -> bool {
        (i..PAGES.min(i + n)).all(|bit| !self.contains(bit))
    }
    /// Sets bit `i` (0..=511).
    pub fn insert(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }
    /// Clears bit `i` (0..=511).
    pub fn remove(&mut self, i: usize) {
        self.0[i / 64] &= !(1 << (i % 64));
    }
    /// Whether the 16 bits of the aligned group of bit `i` (0..=511) are all set.
    #[must_use]
    pub const fn has_group(&self, i: usize) -> bool {
        has_group(self.0[i / 64], i)
    }
    /// How many bits are set: 0..=512.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
    /// Whether no bit is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }
    /// The bits that are clear here.
    #[must_use]
    pub fn complement(&self) -> Self {
        Popmap(self.0.map(|word| !word))
    }
    /// The bits that are set here and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Popmap) -> Self {
        let mut words = self.0;
        words.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
        Popmap(words)
    }
    /// The lowest set bit from `from` on.
    #[must_use]
    #[inline]
    pub fn next(&self, from: usize) -> Option<usize> {
        let (mut n, rest) = (from / 64, u64::MAX << (from % 64));
        let mut word = self.0.get(n)? & rest;
        while word == 0 {
            n += 1;
            word = *self.0.get(n)?;
        }
        Some(64 * n + word.trailing_zeros() as usize)
    }
    /// The runs of set bits, as long as they are, lowest first: where each begins, and of how many bits it is.
    pub fn runs(self) -> impl Iterator<Item = (usize, usize)> {
        let (clear, mut end) = (self.complement(), 0);
        core::iter::from_fn(move || {
            let first = self.next(end)?;
            end = clear.next(first).unwrap_or(PAGES);
            Some((first, end - first))
        })
    }
    /// The first of the lowest naturally aligned run of 2^`order` bits, at most 512, that are clear.
    #[must_use]
    pub fn free_run(&self, order: Order) -> Option<usize> {
        let bits = order.pages() as usize;
        if bits >= 64 {
            let clear = |first: &usize| self.0[first / 64..(first + bits) / 64].iter().all(|&word| word == 0);
            return (0..PAGES).step_by(bits).find(clear);
        }
        let run = (1u64 << bits) - 1;
        (0..PAGES).step_by(bits).find(|first| self.0[first / 64] >> (first % 64) & run == 0)
    }
    /// The bits that are set in either.
    #[must_use]
    pub fn with(&self, other: &Popmap) -> Self {
        let mut words = self.0;
        words.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        Popmap(words)
    }
    /// The lowest `n` of the set bits; all of them where they are fewer.
    #[must_use]
    pub fn lowest(self, n: usize) -> Self {
        let mut lowest = Popmap::EMPTY;
        self.iter().take(n).for_each(|bit| lowest.insert(bit));
        lowest
    }
    /// The set bits, lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(n, word)| {
            let rest = |word: &u64| Some(*word & word.wrapping_sub(1));
            let words = core::iter::successors(Some(word), rest).take_while(|word| *word != 0);
            words.map(move |word| 64 * n + word.trailing_zeros() as usize)
        })
    }
}

/// As [`Popmap::has_group`], of the word of bit `i`.
#[must_use]
pub(super) const fn has_group(word: u64, i: usize) -> bool {
    word >> (i % 64 / CONT_ENTRIES * CONT_ENTRIES) & 0xffff == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bit that is set is counted once and found at its place, at both ends and at word boundaries.
    #[test]
    fn bits_stand_where_they_were_put() {
        let bits = [0, 1, 63, 64, 127, 128, 300, 511];
        let mut map = Popmap::EMPTY;
        for bit in bits {
            assert!(!map.contains(bit));
            map.insert(bit);
            map.insert(bit);
            assert!(map.contains(bit));
        }
        assert_eq!(map.count(), bits.len() as u64);
        assert!(map.iter().eq(bits));
        for bit in bits {
            map.remove(bit);
            assert!(!map.contains(bit));
        }
        assert!(map.is_empty());
    }

    /// The lowest aligned run of every length is found, next to populated pages too, and none where each is cut.
    #[test]
    fn runs_are_found() {
        for order in (0..=9).map(Order::new) {
            let pages = order.pages() as usize;
            assert_eq!(Popmap::EMPTY.free_run(order), Some(0));
            assert_eq!(Popmap::EMPTY.complement().free_run(order), None);
            let mut cut = Popmap::EMPTY;
            (0..PAGES).step_by(pages).for_each(|first| cut.insert(first + pages / 2));
            assert_eq!(cut.free_run(order), None, "{pages} pages");
            for first in (0..PAGES).step_by(pages) {
                let mut map = Popmap::EMPTY.complement();
                (first..first + pages).for_each(|bit| map.remove(bit));
                assert_eq!(map.free_run(order), Some(first));
            }
        }
    }

    /// A group is full with its sixteenth bit, whichever that is, and no other group is.
    #[test]
    fn groups_are_aligned() {
        for last in 0..PAGES {
            let first = last / CONT_ENTRIES * CONT_ENTRIES;
            let mut map = Popmap::EMPTY;
            (0..PAGES)
                .filter(|bit| !(first..first + CONT_ENTRIES).contains(bit))
                .for_each(|bit| map.insert(bit));
            (first..first + CONT_ENTRIES).filter(|&bit| bit != last).for_each(|bit| map.insert(bit));
            assert!(!map.has_group(last) && !map.has_group(first));
            assert!(map.has_group((last + CONT_ENTRIES) % PAGES));
            map.insert(last);
            assert!(map.has_group(first) && map.has_group(last) && map.has_group(first + CONT_ENTRIES - 1));
        }
    }

    /// Set and clear bits are 512 together, and a map without itself is empty.
    #[test]
    fn complement_and_difference() {
        let mut map = Popmap::EMPTY;
        (0..PAGES).step_by(3).for_each(|bit| map.insert(bit));
        let rest = map.complement();
        assert_eq!(map.count() + rest.count(), PAGES as u64);
        assert!(rest.iter().all(|bit| !map.contains(bit)));
        assert!(map.without(&map).is_empty());
        assert_eq!(map.without(&rest), map);
        assert_eq!(Popmap::EMPTY.complement().count(), 512);
        assert_eq!(map.with(&rest).count(), 512);
        assert_eq!((map.lowest(0), map.lowest(512)), (Popmap::EMPTY, map));
        assert!(map.lowest(40).iter().eq((0..120).step_by(3)));
        assert!(Popmap::EMPTY.complement().runs().eq([(0, PAGES)]) && Popmap::EMPTY.runs().next().is_none());
        assert!(map.complement().runs().map(|(first, n)| (first % 3, n)).take(170).all(|run| run == (1, 2)));
        assert!(map.runs().map(|(first, n)| (first % 3, n)).all(|run| run == (0, 1)));
        for from in 0..=PAGES {
            assert_eq!(map.next(from), (from..PAGES).find(|&bit| map.contains(bit)));
        }
    }
}
