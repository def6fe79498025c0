//! `/dev/quire-dma`: a device that reads and writes the memory of its user later.
//!
//! Each `write` is one command of four words: what, address, bytes, value. Each `read` gives the word that the last
//! transfer came to: the sum of all words that it has read or stored.
//!
//! | what | |
//! |--:|---|
//! | 1 | pin the range, and store the value in each of its words, later |
//! | 2 | pin the range, and add up its words, later |
//! | 3 | now do the oldest transfer that is not done, and unpin its pages; ENODATA: there is none |
//! | 4 | give up and unpin whatever is not done |
//!
//! Closing the last descriptor is command 4.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::VirtAddr;
use mm::device::{Dma, Transfer};

use crate::process::Process;
use crate::syscall::{Errno, user};
use crate::the_mm;

/// Its path.
pub const PATH: &str = "/dev/quire-dma";

/// Bytes of a command.
const COMMAND: usize = 32;

/// One opened device: each has a queue of its own.
pub struct DmaFile {
    dma: Dma,
    result: AtomicU64,
}

impl DmaFile {
    /// An idle one.
    pub const fn new() -> Self {
        DmaFile { dma: Dma::new(), result: AtomicU64::new(0) }
    }

    /// A command of the process, which runs this.
    ///
    /// # Errors
    /// EINVAL for what is no command; what pinning says; ENODATA.
    pub(super) fn write(&self, process: &Process, buffer: u64, count: u64) -> Result<u64, Errno> {
        if count != COMMAND as u64 {
            return Err(Errno::INVAL);
        }
        let mut command = [0; COMMAND];
        user::read(buffer, &mut command)?;
        let [what, va, bytes, value] = [0, 8, 16, 24].map(|at| {
            let mut word = [0; 8];
            word.copy_from_slice(&command[at..at + 8]);
            u64::from_le_bytes(word)
        });
        let transfer = match what {
            1 => Transfer::Fill(value),
            2 => Transfer::Sum,
            3 => {
                let sum = self.dma.step(the_mm()).ok_or(Errno::NODATA)?;
                self.result.store(sum, Ordering::Relaxed);
                return Ok(count);
            }
            4 => {
                self.dma.reset(the_mm());
                return Ok(count);
            }
            _ => return Err(Errno::INVAL),
        };
        user::in_user_half(va, bytes)?;
        self.dma.submit(the_mm(), process.space(), VirtAddr::new(va), bytes, transfer)?;
        Ok(count)
    }

    /// The word that the last transfer came to.
    ///
    /// # Errors
    /// EINVAL for less than a word, EFAULT.
    pub(super) fn read(&self, buffer: u64, count: u64) -> Result<u64, Errno> {
        let word = self.result.load(Ordering::Relaxed).to_le_bytes();
        if count < word.len() as u64 {
            return Err(Errno::INVAL);
        }
        user::write(buffer, &word)?;
        Ok(word.len() as u64)
    }
}

impl Drop for DmaFile {
    fn drop(&mut self) {
        self.dma.reset(the_mm());
    }
}
