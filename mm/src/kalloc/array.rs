//! Arrays whose length is known when they are made.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;

use super::KAlloc;
use crate::error::OutOfMemory;

/// `n` values, each from `new`, that stay where they are: tables of locks, which would be too large for a stack.
///
/// # Errors
/// [`OutOfMemory`].
pub fn try_array<T>(n: usize, new: impl Fn() -> T) -> Result<Vec<T, KAlloc>, OutOfMemory> {
    let mut array = Vec::new_in(KAlloc);
    array.try_reserve_exact(n).map_err(|_| OutOfMemory)?;
    (0..n).for_each(|_| array.push(new()));
    Ok(array)
}
