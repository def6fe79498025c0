//! Accesses with EL0's rights, and the fault hook.

use std::cell::RefCell;
use std::sync::Mutex;

use super::super::{set_fault_handler, user_execute, user_load, user_store, with_fault_handler};
use super::*;
use crate::contract::{UserFault, UserMem};

const DESC: MachineDesc = MachineDesc::DEFAULT;

/// Without a handler the first fault ends the access.
#[test]
fn no_handler_no_retry() {
    with_tables(DESC, |_| assert_eq!(user_load(UVA), Err(UserFault(UVA))));
}

/// The handler learns address, access and fault, and the access goes on once it has made the entry.
#[test]
fn a_resolved_fault_is_retried() {
    with_tables(DESC, |tables| {
        let tables = Mutex::new(tables);
        let seen = Mutex::new(Vec::new());
        let handler = |va: VirtAddr, access, status| {
            seen.lock().unwrap().push((va, access, status));
            tables.lock().unwrap().map(va.align_down(PAGE_SIZE), PAGE_A, Level::L3, PteFlags::USER_RW);
            true
        };
        with_fault_handler(&handler, || {
            assert_eq!(user_store(UVA.add(8), 42), Ok(()));
            assert_eq!(user_load(UVA.add(8)), Ok(42));
        });
        let first = (UVA.add(8), Access::Write, FaultStatus::Translation(Level::L0));
        assert_eq!(*seen.lock().unwrap(), [first]);
        assert_eq!(user_load(UVA.add(PAGE_SIZE)), Err(UserFault(UVA.add(PAGE_SIZE))), "the handler is gone");
    });
}

/// A handler that claims to have resolved a fault and has not is stopped in words.
#[test]
#[should_panic(
    expected = "model: the fault handler resolved a user read from 0x0000004000600000 64 times in vain"
)]
fn a_handler_that_does_nothing() {
    with_tables(DESC, |_| {
        set_fault_handler(Box::new(|_, _, _| true));
        let _unreachable = user_load(UVA);
    });
}

/// A copy crosses pages at any alignment and reports the first address that failed.
#[test]
fn copies_cross_pages_and_stop_at_a_hole() {
    with_tables(DESC, |mut tables| {
        tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RW);
        tables.map(UVA.add(PAGE_SIZE), PAGE_B, Level::L3, PteFlags::USER_RW);
        let from: Vec<u8> = (0..100).collect();
        let start = UVA.add(PAGE_SIZE - 33);
        assert_eq!(Machine::copy_to_user(start, &from), Ok(()));
        let mut back = [0; 100];
        assert_eq!(Machine::copy_from_user(&mut back, start), Ok(()));
        assert_eq!(back, *from);
        let mut tail = [0; 67];
        Machine::read_bytes(PAGE_B, &mut tail);
        assert_eq!(tail, from[33..]);
        let hole = UVA.add(2 * PAGE_SIZE);
        assert_eq!(Machine::copy_to_user(hole, &from), Err(UserFault(hole)));
        let before = VirtAddr::new(hole.raw() - 3);
        assert_eq!(Machine::copy_from_user(&mut back, before), Err(UserFault(hole)));
    });
}

/// Kernel memory stays out of reach of a user copy, and text cannot be written.
#[test]
fn a_user_copy_has_user_rights() {
    with_tables(DESC, |mut tables| {
        tables.map(UVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(Machine::copy_to_user(UVA, &[1]), Err(UserFault(UVA)));
        let text = UVA.add(PAGE_SIZE);
        tables.map(text, PAGE_B, Level::L3, PteFlags::USER_RX);
        assert_eq!(user_execute(text), Ok(()));
        assert_eq!(Machine::copy_to_user(text, &[1]), Err(UserFault(text)));
    });
}

/// A handler may itself access user memory.
#[test]
fn a_handler_may_fault() {
    thread_local!(static DEPTH: RefCell<u32> = const { RefCell::new(0) });
    with_tables(DESC, |_| {
        let handler = |va: VirtAddr, _, _| {
            let depth = DEPTH.with_borrow_mut(|depth| {
                *depth += 1;
                *depth
            });
            depth < 3 && user_load(va.add(PAGE_SIZE)).is_ok()
        };
        with_fault_handler(&handler, || assert_eq!(user_load(UVA), Err(UserFault(UVA))));
        assert_eq!(DEPTH.take(), 3);
    });
}
