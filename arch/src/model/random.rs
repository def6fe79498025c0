//! Seeded random numbers, for the model's own choices and for tests.

/// The environment variable from which the seed of a test is taken back.
const SEED: &str = "MM_SEED";

/// A xorshift64* sequence. Tests print the seed, and take it back from `MM_SEED`.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`, or of `MM_SEED` where that is set. Prints which.
    ///
    /// # Panics
    /// `MM_SEED` is no number.
    #[must_use]
    pub fn for_test(name: &str, seed: u64) -> Self {
        let given = std::env::var(SEED).ok();
        let seed = given.map_or(seed, |word| word.parse().expect("MM_SEED is a decimal number"));
        println!("{name}: {SEED}={seed}");
        Random::new(seed)
    }
    /// The sequence of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// The sequence of `seed`, by one round of splitmix64: seeds that are neighbours begin far apart.
    pub(super) const fn spread(seed: u64) -> Self {
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
        // The state 0 has no successor.
        Random(if state == 0 { 1 } else { state })
    }
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.bits() >> 16) % end
    }
    /// One of `choices`, which are not none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
    /// Takes a random element out.
    pub fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        (!from.is_empty()).then(|| {
            let at = self.below(from.len() as u64) as usize;
            from.swap_remove(at)
        })
    }
}
