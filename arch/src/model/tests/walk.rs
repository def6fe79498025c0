//! The walk: levels, faults, rights, hardware updates.

use super::super::{try_kernel_access, user_load, user_touch};
use super::*;
use crate::contract::UserFault;
use crate::features::Features;
use crate::pte::HwDirty;

const DESC: MachineDesc = MachineDesc::DEFAULT;

/// A page, a 2M block and a 1G block each translate with the offset that their level leaves.
#[test]
fn each_leaf_size_keeps_its_offset() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(read(KVA.add(0xabc)), Ok(PAGE_A.add(0xabc)));
        let block = KVA.add(0x20_0000);
        tables.map(block, PAGE_B, Level::L2, PteFlags::KERNEL_RW);
        assert_eq!(read(block.add(0x1f_ffff)), Ok(PAGE_B.add(0x1f_ffff)));
        let giant = VirtAddr::new(0xffff_9000_4000_0000);
        tables.map(giant, TABLES, Level::L1, PteFlags::KERNEL_RW);
        assert_eq!(read(giant.add(0xabc_def0)), Ok(TABLES.add(0xabc_def0)));
    });
}

/// A walk stops with a translation fault at the level whose descriptor is invalid.
#[test]
fn translation_fault_names_the_level() {
    with_tables(DESC, |mut tables| {
        assert_eq!(read(KVA), Err(FaultStatus::Translation(Level::L0)));
        for (level, next) in [(Level::L1, 1), (Level::L2, 2), (Level::L3, 3)] {
            tables.at(KVA, level);
            assert_eq!(read(KVA), Err(FaultStatus::Translation(Level::ALL[next])));
        }
    });
}

/// An address of neither half is translated by nothing.
#[test]
fn non_canonical_faults_at_level_0() {
    with_tables(DESC, |_| {
        assert_eq!(read(VirtAddr::new(1 << 48)), Err(FaultStatus::Translation(Level::L0)));
    });
}

/// An output address beyond the physical address size faults at the level of the descriptor.
#[test]
fn address_size_fault() {
    let features = Features { pa_bits: 40, ..DESC.features };
    with_tables(MachineDesc { features, ..DESC }, |mut tables| {
        tables.map(KVA, PhysAddr::new(1 << 40), Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(read(KVA), Err(FaultStatus::AddressSize(Level::L3)));
    });
}

/// A leaf without the access flag faults and is not held: setting the flag needs no flush.
#[test]
fn access_flag_fault_is_not_held() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW.difference(PteFlags::ACCESSED));
        assert_eq!(read(KVA), Err(FaultStatus::AccessFlag(Level::L3)));
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
    });
}

/// The rights table of D8.4, row by row: flags, then read, write, execute at EL1 and at EL0.
#[test]
fn rights() {
    let rows = [
        (PteFlags::KERNEL_RW, [true, true, false], [false, false, false]),
        (PteFlags::KERNEL_RO, [true, false, false], [false, false, false]),
        (PteFlags::KERNEL_RX, [true, false, true], [false, false, false]),
        (PteFlags::USER_RW, [false, false, false], [true, true, false]),
        (PteFlags::USER_RO, [false, false, false], [true, false, false]),
        (PteFlags::USER_RX, [false, false, false], [true, false, true]),
        // What EL0 may write EL1 never executes, whatever PXN says.
        (PteFlags::USER_RW.difference(PteFlags::PXN), [false, false, false], [true, true, false]),
    ];
    with_tables(DESC, |mut tables| {
        for (n, (flags, kernel, user)) in (0..).zip(rows) {
            let va = UVA.add(n * PAGE_SIZE);
            tables.map(va, PAGE_A, Level::L3, flags);
            let all = [Access::Read, Access::Write, Access::Execute];
            assert_eq!(all.map(|access| try_kernel_access(va, access).is_ok()), kernel, "row {n}, EL1");
            assert_eq!(all.map(|access| user_touch(va, access).is_ok()), user, "row {n}, EL0");
        }
    });
}

/// Without PAN the kernel may read and write user memory.
#[test]
fn without_pan_the_kernel_reaches_user_memory() {
    let features = Features { pan: false, ..DESC.features };
    with_tables(MachineDesc { features, ..DESC }, |mut tables| {
        tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RW);
        assert!(try_kernel_access(UVA, Access::Write).is_ok());
    });
}

/// EL0 gets nothing of the kernel half: a translation fault with E0PD, a permission fault without.
#[test]
fn user_cannot_touch_the_kernel_half() {
    for (e0pd, status) in
        [(true, FaultStatus::Translation(Level::L0)), (false, FaultStatus::Permission(Level::L3))]
    {
        let features = Features { e0pd, ..DESC.features };
        with_tables(MachineDesc { features, ..DESC }, |mut tables| {
            tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
            assert_eq!(Machine::translate(KVA, Access::Read, Privilege::User), Err(status));
            assert_eq!(user_load(KVA), Err(UserFault(KVA)));
        });
    }
}

/// Where hardware manages dirty state it sets the access flag, and a write through DBM clears AP[2].
#[test]
fn hardware_sets_accessed_and_dirty() {
    let features = Features { hw_access_flag: true, hw_dirty: true, ..DESC.features };
    with_tables(MachineDesc { features, hw_dirty: HwDirty::Enabled, ..DESC }, |mut tables| {
        let flags = PteFlags::KERNEL_RO | PteFlags::DBM;
        let at = tables.map(KVA, PAGE_A, Level::L3, flags.difference(PteFlags::ACCESSED));
        assert_eq!(read(KVA), Ok(PAGE_A));
        assert_eq!(Machine::read_desc(at), Desc::leaf(PAGE_A, Level::L3, flags));
        assert!(try_kernel_access(KVA, Access::Write).is_ok());
        let dirty = flags.difference(PteFlags::READ_ONLY);
        assert_eq!(Machine::read_desc(at), Desc::leaf(PAGE_A, Level::L3, dirty));
    });
}

/// A write that is refused for another reason leaves no dirty state behind.
#[test]
fn a_refused_write_dirties_nothing() {
    let features = Features { hw_access_flag: true, hw_dirty: true, ..DESC.features };
    with_tables(MachineDesc { features, hw_dirty: HwDirty::Enabled, ..DESC }, |mut tables| {
        let at = tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RO | PteFlags::DBM);
        let before = Machine::read_desc(at);
        assert_eq!(try_kernel_access(UVA, Access::Write), Err(FaultStatus::Permission(Level::L3)));
        assert_eq!(Machine::read_desc(at), before);
    });
}

/// DBM means nothing where hardware does not manage dirty state.
#[test]
fn dbm_alone_grants_nothing() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RO | PteFlags::DBM);
        assert_eq!(try_kernel_access(KVA, Access::Write), Err(FaultStatus::Permission(Level::L3)));
    });
}

/// The fault of a kernel access is one sentence with address, level and descriptor.
#[test]
#[should_panic(
    expected = "model: kernel write to 0xffff900000200000 on vCPU 0: permission fault, level 3 (entry"
)]
fn a_kernel_fault_panics_in_words() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RO);
        Machine::kernel_access(KVA, Access::Write);
    });
}

/// A table outside RAM is an external abort on the walk, an output outside RAM one on the access.
#[test]
fn outside_ram_is_an_external_abort() {
    with_tables(DESC, |mut tables| {
        let at = tables.at(KVA, Level::L2);
        Machine::write_desc(at, Desc::table(PhysAddr::new(0x1000)));
        Machine::dsb(Dsb::IshSt);
        Machine::isb();
        assert_eq!(read(KVA), Err(FaultStatus::Other(0x17)));
        let other = KVA.add(0x20_0000);
        tables.map(other, PhysAddr::new(0x20_0000), Level::L2, PteFlags::KERNEL_RW);
        assert_eq!(read(other), Err(FaultStatus::Other(0x10)));
    });
}

/// Physical accesses outside RAM stop the test with the address.
#[test]
#[should_panic(expected = "model: physical address 0x0000000000001000 (8 bytes) is not in RAM")]
fn physical_access_outside_ram() {
    with_machine(DESC, || Machine::read_desc(PhysAddr::new(0x1000)));
}

/// Hardware that sets access flags may do so before any swap, which then fails, and need not.
#[test]
fn hardware_may_set_the_flag_before_a_swap() {
    let features = Features { hw_access_flag: true, hw_dirty: true, ..DESC.features };
    let lost = |seed| {
        let mut lost = false;
        let desc = MachineDesc { features, hw_dirty: HwDirty::Enabled, seed, ..DESC };
        with_tables(desc, |mut tables| {
            let fresh = PteFlags::KERNEL_RW.difference(PteFlags::ACCESSED);
            let at = tables.map(KVA, PAGE_A, Level::L3, fresh);
            let [clear, set] = [fresh, PteFlags::KERNEL_RW].map(|flags| Desc::leaf(PAGE_A, Level::L3, flags));
            lost = Machine::cas_desc(at, clear, Desc::INVALID) == Err(set);
        });
        lost
    };
    let times = (0..64).filter(|&seed| lost(seed)).count();
    assert!((1..64).contains(&times), "{times} of 64 swaps lost");
}
