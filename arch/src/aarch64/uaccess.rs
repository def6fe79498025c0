//! Copies between kernel and user memory, with EL0's rights (LDTR and STTR), that survive a fault.
//!
//! One routine each way. It moves bytes until the user address is a multiple of 8, then words, then bytes; a
//! word never straddles two pages, so the first byte that fails is the first of a page or of the range. Every
//! instruction that accesses user memory is listed in a table. A data abort of one of them is offered to the page
//! fault handler; if that cannot resolve it, execution goes on at the end of the routine, which returns how many
//! bytes are left. An abort of any other instruction, on the kernel's side of the copy too, is the kernel's own.

use core::arch::global_asm;

use super::Machine;
use crate::addr::VirtAddr;
use crate::contract::{UserFault, UserMem};

global_asm!(
    r#"
    .section .rodata.user_accesses, "a"
    .balign 8
    .global quire_user_accesses
quire_user_accesses:

    .section .text.uaccess, "ax"

// The instruction, and its place in the table with where to go on after a fault.
    .macro  user_access, fixup, instruction:vararg
8:  \instruction
    .pushsection .rodata.user_accesses
    .quad   8b, \fixup
    .popsection
    .endm

// x0 kernel address, x1 user address, x2 bytes. Returns in x0 the bytes that were not copied.
    .macro  user_copy, name, byte, word
    .global \name
\name:
    cbz     x2, \name\()_end
1:  tst     x1, #7
    b.eq    2f
    \byte   \name\()_end
    subs    x2, x2, #1
    b.ne    1b
    b       \name\()_end
2:  cmp     x2, #8
    b.lo    3f
    \word   \name\()_end
    sub     x2, x2, #8
    b       2b
3:  cbz     x2, \name\()_end
4:  \byte   \name\()_end
    subs    x2, x2, #1
    b.ne    4b
\name\()_end:
    mov     x0, x2
    ret
    .endm

    .macro  byte_from_user, fixup
    user_access \fixup, ldtrb w3, [x1]
    strb    w3, [x0], #1
    add     x1, x1, #1
    .endm
    .macro  word_from_user, fixup
    user_access \fixup, ldtr x3, [x1]
    str     x3, [x0], #8
    add     x1, x1, #8
    .endm
    .macro  byte_to_user, fixup
    ldrb    w3, [x0]
    user_access \fixup, sttrb w3, [x1]
    add     x0, x0, #1
    add     x1, x1, #1
    .endm
    .macro  word_to_user, fixup
    ldr     x3, [x0]
    user_access \fixup, sttr x3, [x1]
    add     x0, x0, #8
    add     x1, x1, #8
    .endm

    user_copy quire_copy_from_user, byte_from_user, word_from_user
    user_copy quire_copy_to_user, byte_to_user, word_to_user

    .section .rodata.user_accesses
    .global quire_user_accesses_end
quire_user_accesses_end:
"#
);

/// An instruction that accesses user memory, and where execution goes on when its fault is not resolved.
#[repr(C)]
struct UserAccess {
    instruction: u64,
    fixup: u64,
}

// SAFETY: the assembly above: two routines with these signatures, and the ends of a table of such entries.
unsafe extern "C" {
    fn quire_copy_from_user(kernel: *mut u8, user: u64, bytes: usize) -> usize;
    fn quire_copy_to_user(kernel: *const u8, user: u64, bytes: usize) -> usize;
    static quire_user_accesses: UserAccess;
    static quire_user_accesses_end: UserAccess;
}

/// Where execution goes on after the access at `elr` failed for good: `None` where the instruction there does not
/// access user memory.
pub(super) fn fixup(elr: u64) -> Option<u64> {
    let (start, end) = (&raw const quire_user_accesses, &raw const quire_user_accesses_end);
    let len = (end.addr() - start.addr()) / size_of::<UserAccess>();
    // SAFETY: the table is read-only data between its two symbols.
    let table = unsafe { core::slice::from_raw_parts(start, len) };
    table.iter().find(|access| access.instruction == elr).map(|access| access.fixup)
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
