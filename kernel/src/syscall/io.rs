//! write.
#![forbid(unsafe_code)]

use super::{Answer, Errno, user};
use crate::process::Process;

/// Bytes that are copied from the process at a time, as Linux's terminals do.
const CHUNK: usize = 2048;
/// Most bytes of one write (Linux: MAX_RW_COUNT).
const MOST: u64 = 0x7fff_f000;

/// `write(fd, buffer, count)`: to the console, for fd 1 and 2. When a chunk of the buffer cannot be read, the
/// chunks before it are written and counted; -EFAULT where there are none.
pub(super) fn write(process: &Process, fd: u64, buffer: u64, count: u64) -> Answer {
    if fd != 1 && fd != 2 {
        return Err(Errno::BADF);
    }
    user::in_user_half(buffer, count)?;
    let count = count.min(MOST);
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < count {
        let from = buffer.checked_add(done).ok_or(Errno::FAULT)?;
        let part = &mut chunk[..(count - done).min(CHUNK as u64) as usize];
        match user::read(from, part) {
            Ok(()) => process.output(part),
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        done += part.len() as u64;
    }
    Ok(done)
}
