//! User copies where there is no user.

use arch::layout::USER_START;
use arch::{Machine, UserMem, VirtAddr};
use mm::Mm;

use crate::selftest::{Verdict, check, selftest};

selftest!("uaccess::a_copy_without_a_process_faults", a_copy_without_a_process_faults);

/// A kernel thread has no user memory: copies fail at their first address, and the kernel goes on.
fn a_copy_without_a_process_faults(_: &'static Mm) -> Verdict {
    let mut bytes = [0; 16];
    for va in [USER_START, VirtAddr::new(0), VirtAddr::new(0x7fff_ffff_f000)] {
        let read = Machine::copy_from_user(&mut bytes, va);
        check!(read.is_err_and(|fault| fault.0 == va), "a read at {va}: {read:?}");
        let write = Machine::copy_to_user(va, &bytes);
        check!(write.is_err_and(|fault| fault.0 == va), "a write at {va}: {write:?}");
    }
    Ok(())
}
