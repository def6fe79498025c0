//! gdb sessions without a person: whole HVO remaps and their restores, step by step, on the machine that runs; one for
//! each strategy, and for each way to split a block of vmemmap first.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::Options;
use qemu::debugger::Debugger;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What every entry must go through, in this order.
#[derive(Clone, Copy)]
struct Way {
    split: &'static [&'static str],
    hvo: &'static [&'static str],
    restore: &'static [&'static str],
}

const BY_BREAK: &[&str] = &["break", "flush", "make"];
const SPLIT_BY_BREAK: &[&str] = &["split_break", "split_flush", "split_make"];
const SPLIT_DIRECTLY: &[&str] = &["split_replace", "split_flush"];
const ALIAS: Way = Way {
    split: SPLIT_DIRECTLY,
    hvo: &["read_only", "flush", "repoint", "flush"],
    restore: &["repoint", "flush", "relax", "flush"],
};
const BBML2: Way = Way {
    split: SPLIT_DIRECTLY,
    hvo: &["read_only", "flush", "copy", "repoint", "flush"],
    restore: &["repoint", "flush", "copy", "relax", "flush"],
};
const BREAKS: Way = Way { split: SPLIT_BY_BREAK, hvo: BY_BREAK, restore: BY_BREAK };

/// Boot arguments, and the way that they must come to. With `hugepages=0` the first list is the tour's one folio, else it
/// is the whole pool.
const SESSIONS: [(&str, Way); 5] = [
    ("hvo=alias", ALIAS),
    ("hvo=bbml2 tails=pointer hugepages=0", BBML2),
    ("hvo=pause hugepages=0", BREAKS),
    ("hvo=stop-machine vmemmap=pte hugepages=0", Way { split: &[], ..BREAKS }),
    ("hvo=fault tails=pointer hugepages=0", BREAKS),
];

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    let session = |(append, way): (&'static str, Way)| {
        let name = format!("debug::remap/{append}").replace(' ', ",");
        harness.trial(name, move |harness| remap(harness, append, &way))
    };
    let order = harness.trial("debug::order_is_checked", order_is_checked);
    SESSIONS.into_iter().map(session).chain([order]).collect()
}

/// One line `name: N entries from va …, entry [slot] of level …` of the command `remap`.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    name: &'a str,
    entries: u64,
    /// Where the first entry stands.
    slot: u64,
}

impl<'a> Step<'a> {
    /// Its name without `room_`, if it is of that room.
    fn of(&self, room: &str) -> Option<&'a str> {
        self.name.strip_prefix(room)?.strip_prefix('_')
    }
}

fn steps(transcript: &str) -> Vec<Step<'_>> {
    let step = |line| {
        let (name, rest): (&str, &str) = str::split_once(line, ": ")?;
        let (entries, rest) = rest.split_once(' ')?;
        let (_, rest) = rest.split_once(" from va 0x")?;
        let (_, rest) = rest.split_once(", entry [0x")?;
        let slot = u64::from_str_radix(rest.split_once(']')?.0, 16).ok()?;
        Some(Step { name, entries: entries.parse().ok()?, slot })
    };
    let mut steps: Vec<_> = transcript.lines().filter_map(step).collect();
    // gdb now and then stops twice where it is, before the machine has gone on.
    steps.dedup();
    steps
}

/// gdb sees the remap and the restore from beginning to end, every entry goes through the steps of its strategy in their
/// order, every descriptor in memory is as it was announced, and what changes without a break has equal bytes.
fn remap(harness: &Harness, append: &str, way: &Way) -> Verdict {
    let options = Options { append: append.to_owned(), ..harness.options.clone() };
    let debugger = Debugger::halt(&options, &harness.release, Box::new(std::io::sink()))?;
    let script = qemu::root().join("tests/machine/remap.gdb");
    let transcript = debugger.script(&["-batch", "-x", &script.to_string_lossy()], crate::LIMIT)?;
    let log = format!("{}\n--- console ---\n{}", transcript.output, debugger.session.log());
    if transcript.status != Some(0) {
        return Err(failed(format!("gdb ended with status {:?}", transcript.status), &log));
    }
    for bad in ["NOT AS ANNOUNCED", "DIFFERENT"] {
        if transcript.output.contains(bad) {
            return Err(failed(format!("`{bad}`: memory is not as it must be"), &log));
        }
    }
    let compared = transcript.output.matches("  bytes  ").count();
    if (compared > 0) != way.hvo.contains(&"repoint") {
        return Err(failed(format!("{compared} times were bytes compared"), &log));
    }
    let steps = steps(&transcript.output);
    split(&steps, way.split).map_err(|reason| failed(reason, &log))?;
    for (room, expected) in [("hvo", way.hvo), ("restore", way.restore)] {
        whole(&steps, room, expected).map_err(|reason| failed(reason, &log))?;
    }
    if transcript.output.matches("walk at ").count() < 3 {
        return Err(failed("the tables were not walked at the begin, the end and after the restore", &log));
    }
    Ok(())
}

/// What happened to each entry, by where it stands. A step that stores is about its run; a flush and a copy are about
/// every entry of the list.
fn histories<'a>(steps: impl Iterator<Item = (&'a str, &'a Step<'a>)>) -> BTreeMap<u64, Vec<&'a str>> {
    let mut histories = BTreeMap::<_, Vec<_>>::new();
    for (name, step) in steps {
        if name.ends_with("flush") || name == "copy" {
            histories.values_mut().for_each(|history| history.push(name));
        } else {
            for n in 0..step.entries {
                histories.entry(step.slot + 8 * n).or_default().push(name);
            }
        }
    }
    histories
}

fn all_are(histories: &BTreeMap<u64, Vec<&str>>, expected: &[&str]) -> Result<(), String> {
    match histories.iter().find(|(_, history)| *history != expected) {
        Some((slot, history)) => Err(format!("entry [{slot:#x}]: {history:?}, {expected:?} was expected")),
        None => Ok(()),
    }
}

/// The blocks that are split before the first remap go through these steps; there is one, unless none is expected.
fn split(steps: &[Step<'_>], expected: &[&str]) -> Result<(), String> {
    let before = steps.iter().take_while(|step| step.name != "hvo_begin");
    let of_split = before.filter_map(|step| Some((step.name.strip_prefix("hvo_")?, step)));
    let histories = histories(of_split.filter(|(name, _)| name.starts_with("split_")));
    if histories.is_empty() != expected.is_empty() {
        return Err(format!("{} blocks were split", histories.len()));
    }
    all_are(&histories, expected)
}

/// The first `room` of the session is whole: `room_begin` … `room_end`, and each entry between went through these steps;
/// at least the seven of one folio.
fn whole(steps: &[Step<'_>], room: &str, expected: &[&str]) -> Result<(), String> {
    let position = |end: &str| steps.iter().position(|step| step.of(room) == Some(end));
    let (Some(begin), Some(end)) = (position("begin"), position("end")) else {
        return Err(format!("no {room}_begin or no {room}_end"));
    };
    let between = steps.get(begin + 1..end).unwrap_or_default();
    let histories = histories(between.iter().filter_map(|step| Some((step.of(room)?, step))));
    match histories.len() {
        0..7 => Err(format!("{room}: {} entries were changed", histories.len())),
        _ => all_are(&histories, expected),
    }
}

/// The checks above see a make without its flush, an entry that stays broken, a change of the address before the bytes are
/// equal, and a remap that does not end.
fn order_is_checked(_: &Harness) -> Verdict {
    let transcript = |words: &str| -> String {
        let line = |word: &str| {
            let (name, slot) = word.split_once('@').unwrap_or((word, "0"));
            format!("hvo_{name}: 7 entries from va 0x10, entry [0x{slot}00] of level 3\n")
        };
        words.split(' ').map(line).collect()
    };
    let session = |words: &str, expected: &[&str]| whole(&steps(&transcript(words)), "hvo", expected);
    let splits = |words: &str, expected: &[&str]| split(&steps(&transcript(words)), expected);
    splits("split_break@1 split_flush split_make@1 begin", SPLIT_BY_BREAK)?;
    splits("begin break@1 flush make@1 end", &[])?;
    session("begin break@1 break@2 flush make@1 make@2 end", BY_BREAK)?;
    session("begin break@1 break@1 flush make@1 make@1 end", BY_BREAK)?;
    session("begin read_only@1 flush copy repoint@1 flush end", BBML2.hvo)?;
    for (bad, expected) in [
        ("begin break@1 make@1 end", BY_BREAK),
        ("begin break@1 flush make@1 break@2 end", BY_BREAK),
        ("begin make@1 end", BY_BREAK),
        ("begin end", BY_BREAK),
        ("begin break@1 flush make@1", BY_BREAK),
        ("begin break@1 break@2 flush make@1 make@2 make@1 end", BY_BREAK),
        ("begin read_only@1 repoint@1 flush end", ALIAS.hvo),
        ("begin read_only@1 flush repoint@1 copy flush end", BBML2.hvo),
        ("begin read_only@1 read_only@2 flush repoint@1 flush end", ALIAS.hvo),
    ] {
        if session(bad, expected).is_ok() {
            return Err(format!("accepted: {bad}").into());
        }
    }
    for (bad, expected) in [
        ("split_break@1 split_make@1 begin", SPLIT_BY_BREAK),
        ("split_replace@1 begin", SPLIT_DIRECTLY),
        ("begin end", SPLIT_DIRECTLY),
        ("split_replace@1 split_flush begin", &[]),
    ] {
        if splits(bad, expected).is_ok() {
            return Err(format!("accepted: {bad}").into());
        }
    }
    Ok(())
}
