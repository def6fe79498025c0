//! No QEMU outlives the runner, however the runner ends.

use crate::console::runner;
use crate::{Harness, Verdict};
use libtest_mimic::Trial;
use std::fs;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    let ended_by = |signal: &'static str| {
        harness.trial(format!("leftover::runner_ended_by_{}", signal.to_lowercase()), move |harness| {
            ended_by_signal(harness, signal)
        })
    };
    let mut trials: Vec<_> = ["TERM", "INT", "KILL"].into_iter().map(ended_by).collect();
    trials.push(harness.trial("leftover::time_is_up", time_is_up));
    trials
}

/// A runner for at most `limit`, and its console: while that is held, it does not end by itself.
fn start(harness: &Harness, limit: Duration) -> std::io::Result<(Child, Option<ChildStdin>)> {
    let mut runner = runner(harness, limit);
    let mut child = runner.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let console = child.stdin.take();
    Ok((child, console))
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let processes = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.filter(|id| parent_of(*id) == Some(parent)).collect()
}

/// `pid (name) state ppid …`; a zombie counts as gone.
fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.next()?.parse().ok()
}

fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

const PATIENCE: Duration = Duration::from_secs(30);

fn qemu_of(runner: &Child) -> Result<u32, String> {
    let mut found = Vec::new();
    within(PATIENCE, || {
        found = children(runner.id());
        !found.is_empty()
    });
    found.first().copied().ok_or_else(|| "the runner started no QEMU".to_owned())
}

fn ended_by_signal(harness: &Harness, signal: &str) -> Verdict {
    let (mut runner, _console) = start(harness, crate::LIMIT)?;
    let qemu = qemu_of(&runner);
    Command::new("kill").args([&format!("-{signal}"), &runner.id().to_string()]).status()?;
    let status = runner.wait()?;
    let qemu = qemu?;
    if status.success() {
        return Err(format!("the runner ended with {status} upon SIG{signal}").into());
    }
    gone(qemu)
}

fn time_is_up(harness: &Harness) -> Verdict {
    let (mut runner, _console) = start(harness, Duration::from_secs(1))?;
    let qemu = qemu_of(&runner);
    let status = runner.wait()?;
    if status.code() != Some(124) {
        return Err(format!("the runner ended with {status} instead of 124").into());
    }
    gone(qemu?)
}

fn gone(qemu: u32) -> Verdict {
    if within(PATIENCE, || parent_of(qemu).is_none()) {
        return Ok(());
    }
    Err(format!("QEMU, process {qemu}, is left behind").into())
}
