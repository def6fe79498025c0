//! Descriptions and seeds that are wrong are refused in words.

use std::rc::Rc;

use super::super::choice::{Choices, Path, Pick};
use super::super::seed::Seed;
use super::super::{DescError, MachineDesc, try_with_machine, with_machine};
use crate::addr::PhysAddr;
use crate::features::Features;
use crate::pte::HwDirty;

const GOOD: MachineDesc = MachineDesc::DEFAULT;

fn refusal(desc: MachineDesc) -> String {
    match try_with_machine(desc, || ()) {
        Ok(()) => panic!("{desc:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

fn with_features(features: Features) -> MachineDesc {
    MachineDesc { features, ..GOOD }
}

/// Every field that can be wrong, and what is said of it.
#[test]
fn each_wrong_field_is_named() {
    let features = GOOD.features;
    let cases = [
        (MachineDesc { cpus: 0, ..GOOD }, "0 vCPUs, 1..=16 are possible"),
        (MachineDesc { cpus: 17, ..GOOD }, "17 vCPUs, 1..=16 are possible"),
        (
            MachineDesc { ram_base: PhysAddr::new(0x4000_0008), ..GOOD },
            "RAM begins at 0x0000000040000008, not a page",
        ),
        (MachineDesc { ram_bytes: 0, ..GOOD }, "0 bytes of RAM are not whole pages"),
        (MachineDesc { ram_bytes: 4097, ..GOOD }, "4097 bytes of RAM are not whole pages"),
        (
            MachineDesc { ram_bytes: 1 << 48, ..GOOD },
            "281474976710656 bytes of RAM from 0x0000000040000000 end above the widest address of 48 bits",
        ),
        (with_features(Features { asid_bits: 12, ..features }), "ASIDs of 12 bits, 8 or 16 are possible"),
        (
            with_features(Features { pa_bits: 52, ..features }),
            "physical addresses of 52 bits, 32..=48 are possible",
        ),
        (
            MachineDesc { hw_dirty: HwDirty::Enabled, ..GOOD },
            "hardware dirty state is enabled on CPUs without it",
        ),
        (MachineDesc { max_steps: 0, ..GOOD }, "max_steps is 0, at least 1 step is needed"),
    ];
    for (desc, words) in cases {
        assert_eq!(refusal(desc), words);
    }
    assert_eq!(GOOD.validate(), Ok(()));
}

/// So is RAM that no host has, though a machine could have it.
#[test]
fn ram_that_the_host_has_not() {
    let desc = MachineDesc { ram_base: PhysAddr::new(0), ram_bytes: 1 << 47, ..GOOD };
    assert_eq!(desc.validate(), Ok(()));
    let words = "140737488355328 bytes of RAM are more than this host has";
    assert_eq!(try_with_machine(desc, || ()).unwrap_err().to_string(), words);
}

/// `with_machine` says the same by a panic.
#[test]
#[should_panic(expected = "model: 0 vCPUs, 1..=16 are possible")]
fn a_wrong_description_panics_in_words() {
    with_machine(MachineDesc { cpus: 0, ..GOOD }, || ());
}

/// Seeds are decimal, hexadecimal, or a path with its repetitions.
#[test]
fn seeds_are_read() {
    let path = |choices: &[usize]| Ok(Seed::Path(choices.to_vec()));
    assert_eq!("0".parse(), Ok(Seed::Number(0)));
    assert_eq!("18446744073709551615".parse(), Ok(Seed::Number(u64::MAX)));
    assert_eq!("0xfF".parse(), Ok(Seed::Number(255)));
    assert_eq!("path:".parse(), path(&[]));
    assert_eq!("path:0,2,1".parse(), path(&[0, 2, 1]));
    assert_eq!("path:0*3,2,1*2".parse(), path(&[0, 0, 0, 2, 1, 1]));
}

/// Anything else is refused with the word that was given.
#[test]
fn other_seeds_are_refused() {
    for word in ["", "abc", "-1", "+1", " 1", "1.5", "0x", "0xg", "0x+1", "18446744073709551616", "path"] {
        let refusal = word.parse::<Seed>().unwrap_err();
        let words = format!("MMU_SEED is {word:?}: a decimal number, 0x… or path:… is expected");
        assert_eq!(refusal.to_string(), words);
        assert_eq!(DescError::from(refusal).to_string(), words);
    }
    for word in ["path:,", "path:1,", "path:a", "path:1*", "path:*2", "path:0*99999999999", "path:1*-1"] {
        assert!(word.parse::<Seed>().is_err(), "{word}");
    }
}

/// A path that lists more choices than the machine makes is the path of another run.
#[test]
#[should_panic(expected = "model: MMU_SEED lists 3 choices, and the machine makes 0")]
fn a_path_that_is_too_long() {
    let given = vec![Pick { choice: 0, options: 0 }; 3];
    Choices::Path(Rc::new(Path::new(given))).end(0);
}

/// What is printed is what is read.
#[test]
fn a_seed_survives_printing() {
    for seed in [Seed::Number(42), Seed::Path(vec![]), Seed::Path(vec![0, 0, 0, 1, 0, 2, 2])] {
        let printed = seed.to_string();
        let word = printed.strip_prefix("MMU_SEED=").unwrap();
        assert_eq!(word.parse(), Ok(seed));
    }
    assert_eq!(Seed::Path(vec![0, 0, 0, 1]).to_string(), "MMU_SEED=path:0*3,1");
}
