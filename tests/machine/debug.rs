//! A gdb session without a person: a whole HVO remap and its restore, step by step, on the machine that runs.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::debugger::Debugger;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    vec![harness.trial("debug::remap", remap), harness.trial("debug::order_is_checked", order_is_checked)]
}

/// One line `name: va …, entry [slot] of level …` of the command `remap`.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    name: &'a str,
    slot: &'a str,
}

fn steps(transcript: &str) -> Vec<Step<'_>> {
    let step = |line| {
        let (name, rest): (&str, &str) = str::split_once(line, ": va 0x")?;
        let (_, rest) = rest.split_once(", entry [")?;
        Some(Step { name, slot: rest.split_once(']')?.0 })
    };
    let mut steps: Vec<_> = transcript.lines().filter_map(step).collect();
    // gdb now and then stops twice where it is, before the machine has gone on.
    steps.dedup();
    steps
}

/// gdb sees the remap and the restore from beginning to end, each entry broken, flushed and made in this order, and
/// every descriptor in memory as it was announced.
fn remap(harness: &Harness) -> Verdict {
    let debugger = Debugger::halt(&harness.options, &harness.release, Box::new(std::io::sink()))?;
    let script = qemu::root().join("tests/machine/remap.gdb");
    let transcript = debugger.script(&["-batch", "-x", &script.to_string_lossy()], crate::LIMIT)?;
    let log = format!("{}\n--- console ---\n{}", transcript.output, debugger.session.log());
    if transcript.status != Some(0) {
        return Err(failed(format!("gdb ended with status {:?}", transcript.status), &log));
    }
    if transcript.output.contains("NOT AS ANNOUNCED") {
        return Err(failed("a descriptor in memory is not the announced one", &log));
    }
    let steps = steps(&transcript.output);
    for room in ["hvo", "restore"] {
        whole(&steps, room).map_err(|reason| failed(reason, &log))?;
    }
    if transcript.output.matches("walk at ").count() < 3 {
        return Err(failed("the tables were not walked at the begin, the end and after the restore", &log));
    }
    Ok(())
}

/// The first `room` of the session is whole: `room_begin` … `room_end`, with entries that were broken, flushed and
/// made in this order, each of them, and at least one.
fn whole(steps: &[Step<'_>], room: &str) -> Result<(), String> {
    let position = |end: &str| steps.iter().position(|step| step.name.strip_prefix(room) == Some(end));
    let (Some(begin), Some(end)) = (position("_begin"), position("_end")) else {
        return Err(format!("no {room}_begin or no {room}_end"));
    };
    let mut broken = BTreeMap::new();
    let mut made = 0;
    for step in steps.get(begin..end).unwrap_or_default() {
        if step.name.ends_with("_break") {
            broken.insert(step.slot, "broken");
        } else if step.name.ends_with("_flush") {
            broken.values_mut().for_each(|state| *state = "flushed");
        } else if step.name.ends_with("_make") {
            match broken.remove(step.slot) {
                Some("flushed") => made += 1,
                state => return Err(format!("{}: entry [{}] was {state:?} before", step.name, step.slot)),
            }
        }
    }
    match (made, broken.is_empty()) {
        (0, _) => Err(format!("{room}: no entry was made")),
        (_, false) => Err(format!("{room}: broken and never made: {broken:?}")),
        (_, true) => Ok(()),
    }
}

/// The check above sees a make without its flush, an entry that stays broken, and a remap that does not end.
fn order_is_checked(_: &Harness) -> Verdict {
    let session = |words: &str| {
        let line = |word: &str| {
            let (name, slot) = word.split_once('@').unwrap_or((word, "0"));
            format!("hvo_{name}: va 0x10, entry [0x{slot}] of level 3\n")
        };
        let transcript: String = words.split(' ').map(line).collect();
        whole(&steps(&transcript), "hvo")
    };
    session("begin break@1 break@2 flush make@1 make@2 end")?;
    session("begin break@1 break@1 flush make@1 make@1 end")?;
    for bad in [
        "begin break@1 make@1 end",
        "begin break@1 flush make@1 break@2 end",
        "begin make@1 end",
        "begin end",
        "begin break@1 flush make@1",
        "begin break@1 break@2 flush make@1 make@2 make@1 end",
    ] {
        if session(bad).is_ok() {
            return Err(format!("accepted: {bad}").into());
        }
    }
    Ok(())
}
