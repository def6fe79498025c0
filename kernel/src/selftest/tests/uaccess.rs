//! User copies where there is no user.

use arch::layout::{LINEAR_BASE, USER_START};
use arch::{Machine, UserMem, VirtAddr};
use mm::Mm;
use mm::page::PageKind;

use crate::selftest::{Verdict, check, check_eq, selftest};

selftest!("uaccess::a_copy_without_a_process_faults", a_copy_without_a_process_faults);
selftest!("uaccess::kernel_addresses_are_not_the_users", kernel_addresses_are_not_the_users);

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

/// User copies have EL0's rights: kernel memory that the kernel itself may read and write is refused.
fn kernel_addresses_are_not_the_users(mm: &'static Mm) -> Verdict {
    let Ok(page) = mm.alloc_zeroed_page(PageKind::Kernel) else {
        check!(false, "no page");
        return Ok(());
    };
    let va = LINEAR_BASE.add(page.pfn().phys().raw());
    let mut bytes = [0; 8];
    let read = Machine::copy_from_user(&mut bytes, va);
    let write = Machine::copy_to_user(va, &[1; 8]);
    let mut now = [0xff; 8];
    <Machine as arch::PhysMem>::read_bytes(page.pfn().phys(), &mut now);
    mm.free_pages(page, page.order());
    check!(read.is_err() && write.is_err(), "a read: {read:?}, a write: {write:?}");
    check_eq!(now, [0; 8], "the page's bytes");
    Ok(())
}
