//! Comparing two sets of pages without memory for either.
#![forbid(unsafe_code)]

use arch::Pfn;

/// A multiset of pages: how many, and a sum that depends on which. Two tallies are equal where both were given the
/// same pages, each as often, in any order; other multisets of one size have one sum with probability 2^-64.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pages: u64,
    sum: u64,
}

impl Tally {
    /// Adds a page.
    pub fn add(&mut self, pfn: Pfn) {
        self.pages += 1;
        self.sum = self.sum.wrapping_add(mix(pfn.raw()));
    }
    /// How many pages were added.
    #[must_use]
    pub fn pages(self) -> u64 {
        self.pages
    }
}

/// Spreads a number over 64 bits, so that sums of neighbours are no sums of others (the finaliser of splitmix64).
const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(pages: &[u64]) -> Tally {
        let mut tally = Tally::default();
        pages.iter().for_each(|&pfn| tally.add(Pfn::new(pfn)));
        tally
    }

    /// Order does not matter; a page twice in place of another does, also where the plain sums are equal.
    #[test]
    fn which_and_how_often() {
        assert_eq!(tally(&[1, 2, 3]), tally(&[3, 1, 2]));
        for other in [&[1, 2, 2][..], &[2, 2, 2], &[0, 3, 3], &[1, 2], &[1, 2, 3, 3], &[]] {
            assert_ne!(tally(&[1, 2, 3]), tally(other), "{other:?}");
        }
    }
}
