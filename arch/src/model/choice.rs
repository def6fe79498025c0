//! Choices of the machine: stands in until the scheduler has its own.
use std::sync::atomic::{AtomicU64, Ordering};
#[derive(Default)]
pub(super) struct Choices(AtomicU64);
impl Choices {
    pub(super) fn new(seed: u64) -> Self {
        Choices(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }
    pub(super) fn choose(&self, options: usize) -> usize {
        let mut x = self.0.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.store(x, Ordering::Relaxed);
        ((x >> 32) % options as u64) as usize
    }
}
