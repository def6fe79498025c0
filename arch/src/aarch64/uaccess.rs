//! Copies between kernel and user memory, with EL0's rights (LDTR and STTR), that survive a fault.
//!
//! One routine each way. It moves bytes until the user address is a multiple of 8, then words, then bytes; a
//! word never straddles two pages, so the first byte that fails is the first of a page or of the range. A data
//! abort between `start` and `end` of a routine is offered to the page fault handler; if that cannot resolve
//! it, execution goes on at `fixup`, which returns how many bytes were left.

use core::arch::global_asm;

use super::Machine;
use crate::addr::VirtAddr;
use crate::contract::{UserFault, UserMem};

global_asm!(
    r#"
    .section .text.uaccess, "ax"

// x0 kernel address, x1 user address, x2 bytes. Returns in x0 the bytes that were not copied.
    .macro  user_copy, name, byte, word
    .global \name
\name:
    cbz     x2, 9f
1:  tst     x1, #7
    b.eq    2f
    \byte   w3, x0, x1
    subs    x2, x2, #1
    b.ne    1b
    b       9f
2:  cmp     x2, #8
    b.lo    3f
    \word   x3, x0, x1
    sub     x2, x2, #8
    b       2b
3:  cbz     x2, 9f
4:  \byte   w3, x0, x1
    subs    x2, x2, #1
    b.ne    4b
    .global \name\()_end
\name\()_end:
9:  mov     x0, x2
    ret
    .endm

// Each moves and then counts up, so a fault leaves the three registers as they were before it.
    .macro  byte_from_user, value, kernel, user
    ldtrb   \value, [\user]
    strb    \value, [\kernel], #1
    add     \user, \user, #1
    .endm
    .macro  word_from_user, value, kernel, user
    ldtr    \value, [\user]
    str     \value, [\kernel], #8
    add     \user, \user, #8
    .endm
    .macro  byte_to_user, value, kernel, user
    ldrb    \value, [\kernel]
    sttrb   \value, [\user]
    add     \kernel, \kernel, #1
    add     \user, \user, #1
    .endm
    .macro  word_to_user, value, kernel, user
    ldr     \value, [\kernel]
    sttr    \value, [\user]
    add     \kernel, \kernel, #8
    add     \user, \user, #8
    .endm

    user_copy quire_copy_from_user, byte_from_user, word_from_user
    user_copy quire_copy_to_user, byte_to_user, word_to_user
"#
);

unsafe extern "C" {
    fn quire_copy_from_user(kernel: *mut u8, user: u64, bytes: usize) -> usize;
    fn quire_copy_to_user(kernel: *const u8, user: u64, bytes: usize) -> usize;
    static quire_copy_from_user_end: u8;
    static quire_copy_to_user_end: u8;
}

/// The address at which execution goes on after an access at `elr` failed for good: `None` where `elr` is in
/// neither copy routine. The end of each routine returns what is left in x2.
pub(super) fn fixup(elr: u64) -> Option<u64> {
    let routines = [
        (quire_copy_from_user as *const () as u64, &raw const quire_copy_from_user_end as u64),
        (quire_copy_to_user as *const () as u64, &raw const quire_copy_to_user_end as u64),
    ];
    routines.into_iter().find(|&(start, end)| (start..end).contains(&elr)).map(|(_, end)| end)
}

/// What a copy of `bytes` bytes from user address `user` came to when `left` bytes were not copied.
fn outcome(user: VirtAddr, bytes: usize, left: usize) -> Result<(), UserFault> {
    if left == 0 { Ok(()) } else { Err(UserFault(user.add((bytes - left) as u64))) }
}

impl UserMem for Machine {
    fn copy_from_user(into: &mut [u8], from: VirtAddr) -> Result<(), UserFault> {
        // SAFETY: `into` is writable for its length; the user address is accessed with EL0's rights, and a fault
        // there ends in the routine's own fixup.
        let left = unsafe { quire_copy_from_user(into.as_mut_ptr(), from.raw(), into.len()) };
        outcome(from, into.len(), left)
    }

    fn copy_to_user(to: VirtAddr, from: &[u8]) -> Result<(), UserFault> {
        // SAFETY: `from` is readable for its length; the rest as above.
        let left = unsafe { quire_copy_to_user(from.as_ptr(), to.raw(), from.len()) };
        outcome(to, from.len(), left)
    }
}
