//! What the backends share and a host can test: the bits of leaves, and what holding a spinlock means.

use arch::contract::Cpu;
use arch::model::with_default_machine;
use arch::pte::PteFlags;
use arch::sync::{Rank, SpinLock};
use arch::{Desc, Level, Machine, PhysAddr};

/// Every named set of rights has the bits that the architecture gives it (Arm ARM D8.3), written out here once more:
/// UXN 54, PXN 53, nG 11, AF 10, SH 9:8, AP 7:6, AttrIndx 4:2.
#[test]
fn named_rights_have_the_bits_of_the_architecture() {
    const NO_EXEC: u64 = 1 << 54 | 1 << 53;
    const NORMAL: u64 = 1 << 10 | 0b11 << 8;
    for (flags, bits) in [
        (PteFlags::KERNEL_RW, NORMAL | NO_EXEC),
        (PteFlags::KERNEL_RO, NORMAL | NO_EXEC | 0b10 << 6),
        (PteFlags::KERNEL_RX, NORMAL | 1 << 54 | 0b10 << 6),
        (PteFlags::KERNEL_DEVICE, 1 << 10 | NO_EXEC | 1 << 2),
        (PteFlags::USER_RO, NORMAL | NO_EXEC | 0b11 << 6 | 1 << 11),
        (PteFlags::USER_RW, NORMAL | NO_EXEC | 0b01 << 6 | 1 << 11),
        (PteFlags::USER_RX, NORMAL | 1 << 53 | 0b11 << 6 | 1 << 11),
    ] {
        let page = Desc::leaf(PhysAddr::new(0x4000_0000), Level::L3, flags);
        assert_eq!(page.raw(), 0x4000_0000 | bits | 0b11, "{flags:?}");
        let block = Desc::leaf(PhysAddr::new(0x4000_0000), Level::L2, flags);
        assert_eq!(block.raw(), 0x4000_0000 | bits | 0b01, "{flags:?}");
    }
}

/// Two locks of one rank may not be held at once: two CPUs could take them in opposite order.
#[test]
#[should_panic(expected = "lock order: rank 10 taken while rank 10 is held")]
fn equal_ranks_are_refused() {
    with_default_machine(|| {
        let (a, b) = (SpinLock::new(Rank(10), ()), SpinLock::new(Rank(10), ()));
        let _first = a.lock();
        let _second = b.lock();
    });
}

/// Interrupts are masked while a spinlock is held, however it was taken, and as they were before once it is free.
#[test]
fn a_lock_masks_interrupts() {
    with_default_machine(|| {
        let now = || {
            let state = Machine::mask_irqs();
            Machine::restore_irqs(state);
            state
        };
        let open = now();
        let outer = Machine::mask_irqs();
        let masked = now();
        Machine::restore_irqs(outer);
        assert_ne!(open, masked);
        let lock = SpinLock::new(Rank(10), ());
        let guard = lock.lock();
        assert_eq!(now(), masked, "lock");
        assert!(lock.try_lock().is_none());
        assert_eq!(now(), masked, "a try that failed");
        drop(guard);
        assert_eq!(now(), open, "drop");
        let guard = lock.try_lock();
        assert!(guard.is_some());
        assert_eq!(now(), masked, "try_lock");
        drop(guard);
        assert_eq!(now(), open, "drop after try_lock");
    });
}
