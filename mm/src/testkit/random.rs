//! Seeded random numbers for tests.
#![forbid(unsafe_code)]

/// The environment variable from which a seed is taken back.
const SEED: &str = "MM_SEED";

/// A xorshift64* sequence. Tests print the seed, and take it back from `MM_SEED`.
#[derive(Clone, Debug)]
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
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
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
    /// Takes a random element out.
    pub fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        (!from.is_empty()).then(|| {
            let at = self.below(from.len() as u64) as usize;
            from.swap_remove(at)
        })
    }
}
