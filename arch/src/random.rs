//! Seeded random numbers for this crate's tests.

/// A xorshift64* sequence.
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of `seed`, or of `MM_SEED` where that is set. Prints which.
    pub(crate) fn for_test(name: &str, seed: u64) -> Self {
        let given = std::env::var("MM_SEED").ok();
        let seed = given.map_or(seed, |word| word.parse().expect("MM_SEED is a decimal number"));
        println!("{name}: MM_SEED={seed}");
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.bits() >> 16) % end
    }
    /// One of `choices`, which are not none.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
