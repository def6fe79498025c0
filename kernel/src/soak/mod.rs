//! Soaks: what goes on for as long as asked, while everything else does too, and says at the end what was wrong.
//!
//! | file | what |
//! |---|---|
//! | `hvo` | folios of the pools are optimised and restored all the time, under walkers and load |
//! | `load` | the load: threads whose memory faults and forks, and one that uses up all memory there is |

mod hvo;
mod load;

pub use hvo::{Outcome, run as hvo};

/// Numbers that look random: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    /// One of `0..n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
