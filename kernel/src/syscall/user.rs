//! User memory, as system calls see it.
#![forbid(unsafe_code)]

use arch::layout::USER_END;
use arch::{Machine, UserMem, VirtAddr};

use super::Errno;

/// The address of `bytes` bytes at `raw`, where they all lie in the user half.
///
/// # Errors
/// EFAULT otherwise.
pub fn in_user_half(raw: u64, bytes: u64) -> Result<VirtAddr, Errno> {
    let end = raw.checked_add(bytes).ok_or(Errno::FAULT)?;
    if end > USER_END.raw() { Err(Errno::FAULT) } else { Ok(VirtAddr::new(raw)) }
}

/// Copies from the process.
///
/// # Errors
/// EFAULT.
pub fn read(from: u64, into: &mut [u8]) -> Result<(), Errno> {
    let from = in_user_half(from, into.len() as u64)?;
    Machine::copy_from_user(into, from).map_err(|_| Errno::FAULT)
}

/// Copies to the process.
///
/// # Errors
/// EFAULT.
pub fn write(to: u64, from: &[u8]) -> Result<(), Errno> {
    let to = in_user_half(to, from.len() as u64)?;
    Machine::copy_to_user(to, from).map_err(|_| Errno::FAULT)
}
