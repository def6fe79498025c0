//! Small blocks that were freed, kept by size for the next request of that size.
//!
//! The heap of small blocks cuts a larger block for a request, and merges what is freed with its neighbour, looking for
//! that in a list. What comes and goes all the time (what a process, a thread and a space have) needs neither: a block
//! waits here for its next owner.
//!
//! **Guarantee.** At most [`DEPTH`] blocks of a size wait, and whoever finds the heap without a block for him gives all
//! of them back first ([`Shelf::clear`]): nothing that could be merged is missed for long.
#![forbid(unsafe_code)]

/// Blocks of one size that wait at most.
const DEPTH: usize = 4;
/// The smallest size and the largest one, in bytes, as powers of two.
const FIRST: u32 = 4;
const LAST: u32 = 12;
const SIZES: usize = (LAST - FIRST + 1) as usize;

/// Addresses of blocks, by the logarithm of their size.
pub(super) struct Shelf {
    blocks: [[usize; DEPTH]; SIZES],
    waiting: [usize; SIZES],
    bytes: usize,
}

/// The place of blocks of this size, a power of two.
fn place(bytes: usize) -> Option<usize> {
    bytes.trailing_zeros().checked_sub(FIRST).map(|place| place as usize).filter(|&place| place < SIZES)
}

impl Shelf {
    /// No blocks.
    pub(super) const fn new() -> Self {
        Shelf { blocks: [[0; DEPTH]; SIZES], waiting: [0; SIZES], bytes: 0 }
    }

    /// Bytes of all that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A block of this size, a power of two, if one waits.
    pub(super) fn take(&mut self, bytes: usize) -> Option<usize> {
        let place = place(bytes)?;
        let last = self.waiting[place].checked_sub(1)?;
        self.waiting[place] = last;
        self.bytes -= bytes;
        self.blocks[place].get(last).copied()
    }

    /// Lets a block of this size wait. Says whether there is room for it.
    #[must_use]
    pub(super) fn put(&mut self, bytes: usize, block: usize) -> bool {
        let Some(place) = place(bytes) else { return false };
        let waiting = self.waiting[place];
        let Some(slot) = self.blocks[place].get_mut(waiting) else { return false };
        *slot = block;
        self.waiting[place] = waiting + 1;
        self.bytes += bytes;
        true
    }

    /// Gives every block to `each`, with its size.
    pub(super) fn clear(&mut self, mut each: impl FnMut(usize, usize)) {
        for size in FIRST..=LAST {
            while let Some(block) = self.take(1 << size) {
                each(1 << size, block);
            }
        }
    }
}
