//! The checks on models of every kind.

use super::{Arena, CHECKS, Failure};
use crate::Machine;
use crate::addr::{Asid, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{Mmu, PhysMem};
use crate::features::{BbmLevel, Features};
use crate::model::{MachineDesc, counters, with_machine};
use crate::pte::HwDirty;

const WINDOW: VirtAddr = VirtAddr::new(0xffff_9000_0020_0000);
const ROOT: PhysAddr = MachineDesc::DEFAULT.ram_base;
const ASIDS: [Asid; 2] = [Asid::new(7), Asid::new(9)];

/// The pages of an arena: behind the root, 4 MiB up.
fn pages() -> Vec<PhysAddr> {
    (0..Arena::PAGES as u64).map(|n| ROOT.add((4 << 20) + n * PAGE_SIZE)).collect()
}

/// Every check holds on every kind of model, twice over and whatever the seed, and leaves the root as it found it.
#[test]
fn every_check_on_every_model() {
    let base = MachineDesc::DEFAULT;
    let mut kinds: Vec<MachineDesc> =
        [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3]
            .map(|bbm| MachineDesc { features: Features { bbm, ..base.features }, ..base })
            .into();
    kinds.push(MachineDesc { features: Features::BASE, ..base });
    let updates = Features { hw_access_flag: true, hw_dirty: true, ..base.features };
    kinds.push(MachineDesc { features: updates, hw_dirty: HwDirty::Enabled, ..base });
    let seeds = 0..6;
    for desc in kinds.iter().flat_map(|&desc| seeds.clone().map(move |seed| MachineDesc { seed, ..desc })) {
        with_machine(desc, || {
            Machine::set_kernel_root(ROOT);
            let pages = pages();
            let mut arena = Arena::new(WINDOW, &pages, ASIDS).unwrap();
            for check in CHECKS.iter().chain(CHECKS) {
                let verdict = arena.run(check);
                assert_eq!(verdict, Ok(()), "{} on {}, seed {}", check.0, desc.features, desc.seed);
            }
            assert!((0..512).all(|n| Machine::read_desc(ROOT.add(8 * n)).raw() == 0));
            assert_eq!(counters().tlbi_unordered, 0);
        });
    }
}

/// Names are unique, as results are found by them.
#[test]
fn names_are_unique() {
    let mut names: Vec<_> = CHECKS.iter().map(|check| check.0).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CHECKS.len());
}

/// arch/README.md says how many checks there are.
#[test]
fn the_readme_counts_the_checks() {
    let readme = include_str!("../../README.md");
    let words = format!("{} checks of the contract", CHECKS.len());
    assert!(readme.contains(&words), "`{words}`");
}

/// An arena that cannot carry the checks is refused with the reason.
#[test]
fn bad_arenas_are_refused() {
    let pages = pages();
    let refused = |window, pages: &[PhysAddr], asids| Arena::new(window, pages, asids).err();
    let reason = |why| Some(Failure::Arena(why));
    assert_eq!(refused(WINDOW, &pages[1..], ASIDS), reason("too few pages"));
    let odd = WINDOW.add(PAGE_SIZE);
    assert_eq!(refused(odd, &pages, ASIDS), reason("the window is no 2 MiB aligned kernel address"));
    assert_eq!(refused(WINDOW, &pages, [ASIDS[0]; 2]), reason("the ASIDs are not two, or reserved"));
}

/// A failure is a sentence with both values.
#[test]
fn failures_are_sentences() {
    let failure = Failure::Value { step: "a load", expected: 0x10, got: 0x11 };
    assert_eq!(failure.to_string(), "a load: 0x11 instead of 0x10");
}
