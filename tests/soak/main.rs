//! The program `soak`: what it makes of its environment, and how it closes.

use std::process::{Command, Output};

/// Runs it with nothing in the environment but these.
fn soak(variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    for name in ["MMU_SEED", "ONLY", "SOAK_SECONDS", "SOAK_SEEDS"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

/// What is no number and no scenario is refused in words that say what is expected.
#[test]
fn wrong_words_are_refused() {
    for (variable, value, words) in [
        ("SOAK_SECONDS", "soon", "SECONDS=soon: a number is expected, as in SECONDS=600"),
        ("MMU_SEED", "-1", "MMU_SEED=-1: a number is expected"),
        ("ONLY", "nothing", "ONLY=nothing is no scenario; there are\n  mixed"),
    ] {
        let output = soak(&[(variable, value)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with(&format!("soak: {words}")), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// A seed is run once, by one scenario, and the last line says so.
#[test]
fn one_seed_is_one_schedule() {
    let output = soak(&[("MMU_SEED", "0x7"), ("ONLY", "shared")]);
    let line = last_line(&output);
    assert!(line.starts_with("soak: 1 schedules, ") && line.ends_with(" steps, 0 findings"), "{line}");
    assert_eq!(output.status.code(), Some(0));
}

/// It ends when its time is over, having run something.
#[test]
fn it_ends_in_time() {
    let begun = std::time::Instant::now();
    let output = soak(&[("SOAK_SECONDS", "1")]);
    let line = last_line(&output);
    assert!(!line.starts_with("soak: 0 schedules") && line.ends_with(" findings"), "{line}");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}
