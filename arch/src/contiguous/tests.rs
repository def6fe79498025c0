//! What a contiguous group must be, member by member.

use super::*;

const RW: PteFlags = PteFlags::KERNEL_RW.union(PteFlags::CONTIGUOUS);
const LEVELS: [Level; 3] = [Level::L1, Level::L2, Level::L3];

/// A group of `level` at 16 GiB, with the bit in each member.
fn group(level: Level, flags: PteFlags) -> [Desc; CONT_ENTRIES] {
    let base = PhysAddr::new(16 << 30);
    core::array::from_fn(|n| Desc::leaf(base.add(n as u64 * level.entry_bytes()), level, flags))
}

/// The verdict once member `n` of a good group is `desc`.
fn with(n: usize, desc: Desc, level: Level) -> Result<(), Misprogrammed> {
    let mut descs = group(level, RW);
    descs[n] = desc;
    check_group(&descs, level)
}

fn misfit_of(member: usize, other: usize, misfit: Misfit) -> Result<(), Misprogrammed> {
    Err(Misprogrammed { member, other, misfit })
}

/// 64 KiB at level 3, 32 MiB at level 2, 16 GiB at level 1, and the sixteen indices around each.
#[test]
fn sizes_and_indices() {
    assert_eq!(LEVELS.map(group_bytes), [16 << 30, 32 << 20, 64 << 10]);
    for index in 0..512 {
        let group = group_of(index);
        assert!(
            group.contains(&index) && group.len() == 16 && group.start.is_multiple_of(16),
            "{index}: {group:?}"
        );
    }
}

/// A whole group is good at each level that has leaves, and so is one without the bit, whatever it maps.
#[test]
fn good_groups() {
    for level in LEVELS {
        assert_eq!(check_group(&group(level, RW), level), Ok(()));
        let mut plain = group(level, PteFlags::KERNEL_RW);
        plain.swap(0, 9);
        assert_eq!(check_group(&plain, level), Ok(()));
    }
    let tables = [Desc::from_raw(Desc::table(PhysAddr::new(0x1000)).raw() | 1 << 52); 16];
    assert_eq!(check_group(&tables, Level::L0), Ok(()), "bit 52 of a table is ignored");
    assert_eq!(check_group(&tables, Level::L2), Ok(()));
}

/// AF, software's bits, and dirty state where hardware manages it are each member's own; AP[2] without DBM is not.
#[test]
fn what_may_differ() {
    for level in LEVELS {
        for n in 0..16 {
            let desc = group(level, RW)[n];
            let fresh = desc.with_flags(level, RW - PteFlags::ACCESSED);
            assert_eq!(with(n, fresh, level), Ok(()));
            assert_eq!(with(n, Desc::from_raw(desc.raw() | 0xf << 55), level), Ok(()));
            let mut dirty = group(level, RW | PteFlags::DBM);
            dirty[n] = dirty[n].with_flags(level, RW | PteFlags::DBM | PteFlags::READ_ONLY);
            assert_eq!(check_group(&dirty, level), Ok(()));
            assert!(with(n, desc.with_flags(level, RW | PteFlags::READ_ONLY), level).is_err());
            assert!(with(n, desc.with_flags(level, RW | PteFlags::DBM), level).is_err());
        }
    }
}

/// Members may be invalid, also the first, whose output address then follows from another's.
#[test]
fn invalid_members() {
    for level in LEVELS {
        let mut descs = group(level, RW);
        for n in 0..16 {
            descs[n] = Desc::INVALID;
            assert_eq!(check_group(&descs, level), Ok(()), "{n} invalid");
        }
        let mut descs = group(level, RW);
        descs[..5].fill(Desc::INVALID);
        descs[9] = descs[8];
        let wants = PhysAddr::new((16 << 30) + 9 * level.entry_bytes());
        let has = PhysAddr::new((16 << 30) + 8 * level.entry_bytes());
        assert_eq!(check_group(&descs, level), misfit_of(5, 9, Misfit::Output { has, wants }));
    }
}

/// One member without the bit, or a table among blocks: found wherever it stands.
#[test]
fn members_without_the_bit() {
    for level in LEVELS {
        for n in 0..16 {
            let plain = group(level, PteFlags::KERNEL_RW)[n];
            let (member, other) = if n == 0 { (1, 0) } else { (0, n) };
            assert_eq!(with(n, plain, level), misfit_of(member, other, Misfit::BitClear));
            if level != Level::L3 {
                let table = Desc::table(PhysAddr::new(0x4000_0000));
                assert_eq!(with(n, table, level), misfit_of(member, other, Misfit::Table));
            }
        }
    }
}

/// Output addresses: not the next one, or the whole group not aligned.
#[test]
fn output_addresses() {
    for level in LEVELS {
        let bytes = level.entry_bytes();
        let moved = |n: u64| Desc::leaf(PhysAddr::new((16 << 30) + n * bytes), level, RW);
        for n in 1..16 {
            let [has, wants] = [n as u64 + 16, n as u64].map(|at| moved(at).output(level));
            assert_eq!(with(n, moved(n as u64 + 16), level), misfit_of(0, n, Misfit::Output { has, wants }));
        }
        let shifted: [Desc; 16] = core::array::from_fn(|n| moved(n as u64 + 1));
        let first = Misfit::Alignment(moved(1).output(level));
        assert_eq!(check_group(&shifted, level), misfit_of(0, 0, first));
        let mut low = [Desc::INVALID; 16];
        low[3] = Desc::leaf(PhysAddr::new(bytes), level, RW);
        let third = Misfit::Alignment(PhysAddr::new(bytes));
        assert_eq!(check_group(&low, level), misfit_of(3, 3, third), "its group would begin below zero");
    }
}

/// Each attribute, named or not, must be the same in all members, but for those that are each member's own.
#[test]
fn attributes() {
    let own = PteFlags::VALID | PteFlags::TABLE_OR_PAGE | PteFlags::ACCESSED | PteFlags::SPECIAL;
    let same = own | PteFlags::CONTIGUOUS;
    for level in LEVELS {
        for bit in PteFlags::all().difference(same).iter() {
            if bit == PteFlags::NT && level == Level::L3 {
                continue;
            }
            let desc = group(level, RW)[7].with_flags(level, RW ^ bit);
            assert_eq!(with(7, desc, level), misfit_of(0, 7, Misfit::Attributes(bit)), "{bit:?}");
        }
        for bit in [5, 50, 59, 63] {
            let desc = Desc::from_raw(group(level, RW)[7].raw() | 1 << bit);
            assert_eq!(with(7, desc, level), misfit_of(0, 7, Misfit::Bits(1 << bit)), "bit {bit}");
        }
    }
}

/// Each misfit is a sentence that names both members.
#[test]
fn misfits_are_sentences() {
    let sentence = |misfit| Misprogrammed { member: 0, other: 3, misfit }.to_string();
    let (has, wants) = (PhysAddr::new(0x8000), PhysAddr::new(0x3000));
    assert_eq!(sentence(Misfit::BitClear), "entry 0 has the contiguous bit, entry 3 has not");
    assert_eq!(
        sentence(Misfit::Output { has, wants }),
        "entry 3 maps 0x0000000000008000, but the contiguous bit of entry 0 promises 0x0000000000003000"
    );
    assert_eq!(
        sentence(Misfit::Attributes(PteFlags::READ_ONLY | PteFlags::USER)),
        "entry 3 differs from entry 0 of its contiguous group in USER | READ_ONLY"
    );
    assert_eq!(sentence(Misfit::Table), "entry 3 of the contiguous group of entry 0 is a table");
}
